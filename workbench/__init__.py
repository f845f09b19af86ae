"""Ask questions of the history that your systems keep in KurrentDB.

>>> import workbench as wb
>>> lake = wb.open("data/demo")
>>> lake.timeline.upto("2026-03-01T09:00:00Z").sql("select count(*) from events").fetchall()
[(20348,)]

A name is loaded when it is first used, and with it DuckDB, Polars, gRPC or Plotly; `__init__.pyi` lists the names and where they come from.
Questions about a timeline's events are in `analysis`, which also holds the types of their results; charts of results are in `charts`.
Every error is in `errors`. `reports` runs notebooks and keeps what they gave.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING

import lazy_loader

from workbench.host.platforms import ensure_supported

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

# gRPC's library writes lines of its own to stderr, `Got goaway` among them, which cron mails. It reads this when it is loaded, which is
# never before this line where the workbench loads it.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

__version__ = "0.1.0"

_load, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'workbench' has no attribute {name!r}; it has {', '.join(__all__)}")
    ensure_supported()
    return _load(name)


def load_ipython_extension(shell: InteractiveShell) -> None:
    """Load ``%%events`` into a notebook; IPython calls this for ``%load_ext workbench``."""
    import_module("workbench.jupyter.magics").load(shell)


def unload_ipython_extension(shell: InteractiveShell) -> None:
    """Unload ``%%events``; IPython calls this for ``%unload_ext workbench``."""
    import_module("workbench.jupyter.magics").unload(shell)
