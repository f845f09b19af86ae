"""The command line: one command, one library call; results on stdout, progress on stderr."""

import os


def main() -> None:
    """Run ``workbench``; the exit status is 0, 1 (it failed), 2 (wrong use), 3 (a gate that finds a difference), and 130 after Ctrl-C."""
    # gRPC and its libraries write lines of their own to stderr, beside the one sentence that is ours; they read this when loaded.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    os.environ.setdefault("GLOG_minloglevel", "3")

    from workbench.cli.app import app

    app()
