"""``workbench lab``: opens JupyterLab with the shipped notebooks and a lake."""

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
            typer.Option("--lake", envvar="WORKBENCH_LAKE", metavar="DIR", help="The lake for the notebooks; by default the demo's."),
        ] = None,
        folder: Annotated[
            Path, typer.Option("--dir", metavar="DIR", help="Copy the notebooks to this directory; keep those that you changed there.")
        ] = Path("notebooks"),
        port: Annotated[
            int | None, typer.Option("--port", metavar="N", min=1, max=65535, help="The port; by default the first free one from 8888.")
        ] = None,
        browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open a browser.")] = True,
        root: Annotated[bool, typer.Option("--allow-root", help="Serve also as root, as in a container.")] = False,
    ) -> None:
        """Open JupyterLab with the notebooks of the workbench.

        Without --lake it opens data/demo, and creates it first if it is missing. It serves only this machine, requires a token, and does
        not check for news or updates.
        """
        from workbench.cli.demo import make_lake
        from workbench.jupyter.lab import open_lab
        from workbench.jupyter.notebooks import copy_notebooks
        from workbench.lake import open_lake

        if lake is None:
            lake = str(_DEMO)
            if not _DEMO.exists():
                make_lake(_DEMO.parent)
        open_lake(lake)  # fail here if the lake is missing, and not in the first cell
        copied = copy_notebooks(folder, lake=lake)
        if copied.written:
            print(f"Notebooks in {folder}: {', '.join(copied.written)}", flush=True)
        if copied.kept:
            print(f"Kept as you changed them: {', '.join(copied.kept)}", flush=True)
        if copied.in_place and lake != str(_DEMO):
            print(f"%%events asks {lake}; in these notebooks it is the parameter lake. Copies in another --dir open it.", flush=True)
        open_lab(folder, lake=lake, port=port, browser=browser, root=root)
