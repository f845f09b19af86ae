"""The command line: one command, one library call; results on stdout, progress on stderr."""


def main() -> None:
    """Run ``workbench``; the exit status is 0, 1 (it failed) or 2 (wrong use), and 130 after Ctrl-C."""
    from workbench.cli.app import app

    app()
