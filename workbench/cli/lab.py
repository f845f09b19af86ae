"""``workbench lab``: JupyterLab on the notebooks, with a lake ready."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from workbench.cli import options

_DEMO = Path("data/demo")


def register(app: typer.Typer) -> None:
    @options.command(app, example="workbench lab --lake data/orders")
    def lab(
        lake: Annotated[
            str | None,
            typer.Option("--lake", envvar="WORKBENCH_LAKE", metavar="DIR", help="The lake that the notebooks open; without it the demo's."),
        ] = None,
        folder: Annotated[
            Path, typer.Option("--dir", metavar="DIR", help="Where the notebooks are copied to; those that you changed there stay.")
        ] = Path("notebooks"),
        port: Annotated[
            int | None, typer.Option("--port", metavar="N", min=1, max=65535, help="The port; without it the first free one from 8888.")
        ] = None,
        browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open a browser.")] = True,
        root: Annotated[bool, typer.Option("--allow-root", help="Serve also as root, as in a container.")] = False,
    ) -> None:
        """Open JupyterLab on the notebooks that come along.

        Without --lake it opens data/demo, and makes it first where it is missing. It serves this machine alone, asks for a token, and
        looks for neither news nor updates.
        """
        from workbench.cli.demo import make_lake
        from workbench.jupyter.lab import open_lab
        from workbench.jupyter.notebooks import copy_notebooks
        from workbench.lake import open_lake

        if lake is None:
            lake = str(_DEMO)
            if not _DEMO.exists():
                make_lake(_DEMO.parent)
        open_lake(lake)  # one that is not there is said here, and not in the first cell
        copied = copy_notebooks(folder, lake=lake)
        if copied.written:
            print(f"Notebooks in {folder}: {', '.join(copied.written)}", flush=True)
        if copied.kept:
            print(f"Kept as you changed them: {', '.join(copied.kept)}", flush=True)
        if copied.in_place and lake != str(_DEMO):
            print(f"%%events asks {lake}; in these notebooks it is the parameter lake. Copies in another --dir open it.", flush=True)
        open_lab(folder, lake=lake, port=port, browser=browser, root=root)
