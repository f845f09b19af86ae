"""The process that one run has to itself: it executes a notebook and writes its report.

:mod:`workbench.reports.runner` starts it as ``python -m workbench.reports.child``, in the notebook's folder. It reads a request,
one JSON object, from its standard input, and answers with an outcome, one JSON object, on its standard output. The outcome comes
from the exception, never from the executed notebook: after a dead kernel or a timeout papermill calls every cell completed.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
from contextlib import suppress
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from threading import Thread
from typing import Any

from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from jupyter_core.utils import run_sync
from traitlets.config import Config

from workbench.reports.request import Outcome, Request


class OwnKernel(AsyncKernelManager):
    """A kernel of this very Python, whatever kernels are registered on the machine."""

    @property
    def kernel_spec(self) -> KernelSpec:
        """The command that starts the kernel."""
        command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}", "--HistoryManager.enabled=False"]
        return KernelSpec(argv=command, language="python")


def main() -> None:
    """Run the notebook that standard input names, and say on standard output how that ended."""
    answer = os.fdopen(os.dup(1), "w", encoding="utf-8")
    # Whatever a library prints must not get into the answer.
    os.dup2(2, 1)
    # Sockets in a folder of the user's own instead of TCP ports: no other user can talk to the kernel, and ipykernel does not
    # warn. A path of a socket has room for about a hundred characters, so the file has a short name.
    folder = Path(os.environ["JUPYTER_RUNTIME_DIR"])
    kernel = OwnKernel(config=Config({"KernelManager": {"transport": "ipc"}}), connection_file=str(folder / "k.json"))
    signal.signal(signal.SIGTERM, lambda *_: _leave(kernel, 1))
    run_sync(kernel.start_kernel)()
    # Papermill warns of each parameter whose type it cannot read; ours have been checked.
    logging.getLogger("papermill").setLevel(logging.ERROR)
    # The kernel starts up beside the slow imports, those of the page beside the notebook's cells.
    papermill = import_module("papermill.execute")
    request = Request(**json.load(sys.stdin))
    page = Thread(target=import_module, args=["workbench.reports.page"], daemon=True)
    page.start()
    outcome, notebook = _execute(papermill, kernel, request)
    if outcome.ending == "done":
        page.join()
        try:
            html = import_module("workbench.reports.page").render(notebook, name=Path(request.notebook).stem, origin=request.origin)
            Path(request.page).write_text(html, encoding="utf-8")
        except Exception as error:  # noqa: BLE001  the runner raises it as its own
            outcome = Outcome("failed", reason=f"its page could not be made: {_sentence(type(error).__name__, str(error))}")
    json.dump(asdict(outcome), answer)
    answer.close()
    _leave(kernel, 0)


def _leave(kernel: AsyncKernelManager, status: int) -> None:
    """End this process and its kernel at once: nothing is left to be said to either, and both would take a second to agree."""
    pid = getattr(kernel.provisioner, "pid", None)
    if pid is not None:
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)  # the kernel leads a group of its own; what it started goes with it
    os._exit(status)


def _execute(papermill: Any, kernel: AsyncKernelManager, request: Request) -> tuple[Outcome, Any]:
    # They come with papermill, which is imported when the kernel is already starting.
    from nbclient.exceptions import CellTimeoutError, DeadKernelError  # noqa: PLC0415
    from papermill.exceptions import PapermillExecutionError  # noqa: PLC0415

    running: dict[str, int] = {}

    def remember(*, cell_index: int, **_: Any) -> None:
        running["index"] = cell_index

    try:
        notebook = papermill.execute_notebook(
            # Papermill formats paths as templates.
            request.notebook.replace("{", "{{").replace("}", "}}"),
            None,
            parameters=dict(request.parameters),
            kernel_name="python3",
            language="python",
            progress_bar=False,
            request_save_on_cell_execute=False,
            execution_timeout=request.cell_timeout,
            start_timeout=60,
            km=kernel,
            store_widget_state=False,
            on_cell_start=remember,
        )
    except PapermillExecutionError as error:
        return Outcome("cell failed", _number(request, error.cell_index), _sentence(error.ename, error.evalue)), None
    except CellTimeoutError:
        return Outcome("cell timed out", _number(request, running.get("index"))), None
    except DeadKernelError:
        return Outcome("kernel died", _number(request, running.get("index"))), None
    except Exception as error:  # noqa: BLE001  the runner raises it as its own
        return Outcome("failed", reason=_sentence(type(error).__name__, str(error))), None
    for index, cell in enumerate(notebook.cells):
        # Papermill takes `sys.exit()` in a cell for the notebook's end, and leaves the rest out without a word.
        if cell.cell_type == "code" and cell.source.strip() and cell.execution_count is None:
            return Outcome("cell failed", _number(request, index - 1), "SystemExit, before the notebook's last cell"), None
    return Outcome("done"), notebook


def _number(request: Request, index: int | None) -> int | None:
    """Return which of the notebook's own code cells, counted from 1, stands at an index after papermill put in a cell of its own."""
    if index is None:
        return None
    kinds: list[bool] = []
    for cell in json.loads(Path(request.notebook).read_text(encoding="utf-8"))["cells"]:
        kinds.append(cell["cell_type"] == "code")
        if request.parameters and "parameters" in cell["metadata"].get("tags", ()):
            kinds.append(False)
    return max(sum(kinds[: index + 1]), 1)


def _sentence(name: str, text: str) -> str:
    return f"{name}: {' '.join(text.split())}".rstrip(" :.")


if __name__ == "__main__":
    main()
