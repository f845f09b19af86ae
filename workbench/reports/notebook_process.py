"""The process of one run: it executes a notebook and writes its page.

:mod:`workbench.reports.runner` starts it as ``python -m workbench.reports.notebook_process``, in the notebook's folder.
:mod:`workbench.host.child_process` says how the two talk. The outcome comes from the exception, never from the executed notebook: after a
dead kernel or a timeout papermill calls every cell completed.

If its parent ends, the process stops, with the kernel and all that the notebook started, also what detached itself.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from threading import Thread
from typing import Any, NoReturn

from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from jupyter_core.utils import run_sync
from traitlets.config import Config

from workbench.host.child_process import MARK, Parent, end_run
from workbench.reports.request import NotebookOutcome, NotebookRequest

_START_SECONDS = 60
_OUTPUT_SECONDS = 60
"""How long a kernel may take to start, and to bring the outputs of a cell that has ended."""


class OwnKernel(AsyncKernelManager):
    """A kernel of this very Python, whatever kernels are registered on the machine."""

    @property
    def kernel_spec(self) -> KernelSpec:
        """The command that starts the kernel."""
        command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}", "--HistoryManager.enabled=False"]
        return KernelSpec(argv=command, language="python")


@dataclass(slots=True)
class NotebookProgress:
    """How far a run has come: what to keep of it when it is ended from outside."""

    request: NotebookRequest | None = None
    notebook: Any = None
    index: int | None = None
    cell_began: float = 0.0
    written: int = 0

    def cell(self) -> int | None:
        """Return which of the notebook's own code cells is running, counted from 1."""
        return None if self.request is None else _number(self.request, self.index)

    def keep(self, *, whole: bool) -> None:
        """Write the executed notebook, if it is wanted, as far as it came."""
        if self.request is None or self.request.executed is None or self.notebook is None:
            return
        if not whole:
            _mark(self.notebook, self.index)
        nbformat = import_module("nbformat")
        Path(self.request.executed).write_text(nbformat.writes(self.notebook) + "\n", encoding="utf-8")


def main() -> None:
    """Run the notebook that the parent names, and answer how that ended."""
    parent = Parent()
    # Sockets in a folder of the user's own instead of TCP ports: no other user can talk to the kernel, and ipykernel does not
    # warn. A path of a socket has room for about a hundred characters, so the file has a short name.
    kernel = OwnKernel(config=Config({"KernelManager": {"transport": "ipc"}}), connection_file=str(_folder() / "k.json"))
    progress = NotebookProgress()

    def end(outcome: NotebookOutcome) -> NoReturn:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        try:
            progress.keep(whole=False)
            parent.answer(outcome)
        finally:
            _leave(1)

    # The runner ends a run that is over its limits, and asks how far it has come.
    signal.signal(signal.SIGTERM, lambda *_: end(NotebookOutcome("timed out", progress.cell())))
    run_sync(kernel.start_kernel)()
    # Papermill warns of each parameter whose type it cannot read; ours have been checked.
    logging.getLogger("papermill").setLevel(logging.ERROR)
    # The kernel starts up beside the slow imports, those of the page beside the notebook's cells.
    papermill = import_module("papermill.execute")
    request = progress.request = parent.request(NotebookRequest, gone=_abandon)
    if request is None:
        _abandon(None)  # the parent is gone, or could not open the lake
    page = Thread(target=_import, args=["psutil", "workbench.reports.page"], daemon=True)
    page.start()
    outcome = _execute(papermill, kernel, request, progress, end)
    try:
        progress.keep(whole=outcome.ending == "succeeded")
        if outcome.ending == "succeeded":
            page.join()
            _render(progress.notebook, request)
    except Exception as error:  # noqa: BLE001  the runner raises it as its own
        outcome = NotebookOutcome("failed", reason=f"its page could not be made: {_sentence(type(error).__name__, str(error))}")
    parent.answer(outcome)
    _leave(0)


def _folder() -> Path:
    """Return the directory of the run's own, which holds its sockets and temporary files."""
    return Path(os.environ["JUPYTER_RUNTIME_DIR"])


def _import(*names: str) -> None:
    for name in names:
        import_module(name)


def _abandon(request: NotebookRequest | None) -> NoReturn:
    """End a run whose result nobody waits for, and remove what it has written."""
    end_run(os.environ[MARK], below=os.getpid())
    for left in (_folder(), *([] if request is None else [Path(request.stage)])):
        shutil.rmtree(left, ignore_errors=True)
    os._exit(1)


def _render(notebook: Any, request: NotebookRequest) -> None:
    page = import_module("workbench.reports.page")
    path = Path(request.notebook)
    html = page.render(notebook, name=path.stem, origin=request.origin, code=request.code, folder=path.parent)
    Path(request.page).write_text(html, encoding="utf-8")


def _leave(status: int) -> NoReturn:
    """End this process and all that it started at once: the kernel has nothing left to say, and would take a second to agree."""
    end_run(os.environ[MARK], below=os.getpid())
    os._exit(status)


def _execute(
    papermill: Any,
    kernel: AsyncKernelManager,
    request: NotebookRequest,
    progress: NotebookProgress,
    end: Callable[[NotebookOutcome], NoReturn],
) -> NotebookOutcome:
    # They come with papermill, which is imported when the kernel is already starting.
    from nbclient.exceptions import CellTimeoutError, DeadKernelError  # noqa: PLC0415
    from papermill.clientwrap import PapermillNotebookClient  # noqa: PLC0415
    from papermill.engines import Engine, papermill_engines  # noqa: PLC0415
    from papermill.exceptions import PapermillExecutionError  # noqa: PLC0415

    class Client(PapermillNotebookClient):  # type: ignore[misc]  # papermill has no types
        """Papermill's own client; it ends the run where its cells put out too much."""

        def process_message(self, msg: Any, *args: Any) -> Any:
            progress.written += len(json.dumps(msg["content"], ensure_ascii=False, default=str))
            if progress.written > request.max_output:
                end(NotebookOutcome("too much output", progress.cell()))
            return super().process_message(msg, *args)

    class OwnEngine(Engine):  # type: ignore[misc]  # papermill has no types
        """Lets see the notebook also where papermill returns none."""

        @classmethod
        def execute_managed_notebook(cls, nb_man: Any, kernel_name: str, **_: Any) -> None:
            progress.notebook = nb_man.nb
            Client(
                nb_man,
                km=kernel,
                kernel_name=kernel_name,
                timeout=request.cell_timeout,
                startup_timeout=_START_SECONDS,
                iopub_timeout=_OUTPUT_SECONDS,
                store_widget_state=False,
                on_cell_start=remember,
                log=logging.getLogger("papermill"),
            ).execute()

    def remember(*, cell_index: int, **_: Any) -> None:
        progress.index, progress.cell_began = cell_index, time.monotonic()

    papermill_engines.register("workbench", OwnEngine)
    try:
        notebook = papermill.execute_notebook(
            # Papermill formats paths as templates.
            request.notebook.replace("{", "{{").replace("}", "}}"),
            None,
            parameters=dict(request.parameters),
            engine_name="workbench",
            kernel_name="python3",
            language="python",
            progress_bar=False,
            request_save_on_cell_execute=False,
        )
    except PapermillExecutionError as error:
        return NotebookOutcome("cell failed", _number(request, error.cell_index), _sentence(error.ename, error.evalue))
    except CellTimeoutError:
        if time.monotonic() - progress.cell_began < request.cell_timeout:
            # The cell has ended; the kernel drops messages that it cannot get rid of, also the one that says so.
            return NotebookOutcome("too much output", progress.cell(), "put out so much at once that not all of it arrived")
        return NotebookOutcome("cell timed out", progress.cell())
    except DeadKernelError:
        return NotebookOutcome("kernel died", progress.cell())
    except Exception as error:  # noqa: BLE001  the runner raises it as its own
        return NotebookOutcome("failed", reason=_sentence(type(error).__name__, str(error)))
    for index, cell in enumerate(notebook.cells):
        # Papermill takes `sys.exit()` in a cell for the notebook's end, and leaves the rest out without a word.
        if cell.cell_type == "code" and cell.source.strip() and cell.execution_count is None:
            progress.index = index - 1
            return NotebookOutcome("cell failed", _number(request, index - 1), "SystemExit, before the notebook's last cell")
    return NotebookOutcome("succeeded")


def _mark(notebook: Any, index: int | None) -> None:
    """Let an executed notebook say where it ended: papermill calls every cell completed, also those that never ran."""
    notebook.metadata.setdefault("papermill", {})["exception"] = True
    own = [cell for cell in notebook.cells if "papermill-error-cell-tag" not in cell.metadata.get("tags", ())]
    for number, cell in enumerate(own):
        if index is None or number >= index:
            failed = number == index
            cell.metadata.setdefault("papermill", {}).update(exception=failed, status="failed" if failed else "pending")


def _number(request: NotebookRequest, index: int | None) -> int | None:
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
