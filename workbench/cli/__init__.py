"""The command line.

Arguments come in; results go out on stdout, progress and errors on stderr.
Each command is one module and makes one library call; it holds no logic of its own.
``options`` declares what commands share, ``output`` and ``lines`` write results.
A `WorkbenchError` is printed as one sentence, without a traceback.
Begin reading with ``app``, then any command.
"""

import sys

from workbench.errors import WorkbenchError
from workbench.host.platforms import ensure_supported


def main() -> None:
    """Run ``workbench``; the exit status is 0, 1 (it failed), 2 (wrong use), 3 (a gate that finds a difference), or 128 and a signal.

    So it is 130 after Ctrl-C, 143 after SIGTERM and 129 after SIGHUP.
    """
    try:
        ensure_supported()
    except WorkbenchError as error:
        sys.exit(str(error))
    from workbench.cli.app import app
    from workbench.cli.lines import whole_output

    with whole_output():
        app()
