"""JupyterLab, as ``workbench lab`` starts it."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

_CONFIG = Path(__file__).parent / "config"


def lab_command(folder: Path, *, port: int | None = None, browser: bool = True, root: bool = False) -> list[str]:
    """Return the command that serves JupyterLab on a folder: to this machine alone, with a token, and asking nobody for anything.

    Neither news nor newer versions are looked for, and the manager of extensions, which would ask the package index, is off.
    """
    return [
        sys.executable,
        "-m",
        "jupyterlab",
        f"--ServerApp.root_dir={folder.resolve()}",
        "--ServerApp.ip=127.0.0.1",
        *([] if port is None else [f"--ServerApp.port={port}"]),
        *([] if browser else ["--ServerApp.open_browser=False"]),
        *(["--ServerApp.allow_root=True"] if root else []),
        "--LabApp.news_url=None",
        "--LabApp.check_for_updates_class=jupyterlab.handlers.announcements.NeverCheckForUpdate",
        "--LabApp.extension_manager=readonly",
    ]


def lab_environment(environment: Mapping[str, str], *, lake: str) -> dict[str, str]:
    """Return the environment of JupyterLab and its kernels: ``%%events`` and commands in a terminal there find the lake.

    A directory of configuration comes before the user's own ones: it turns off the question whether news may be fetched.
    """
    named = lake if "://" in lake else str(Path(lake).resolve())
    known = environment.get("JUPYTER_CONFIG_PATH")
    paths = [str(_CONFIG), *([known] if known else [])]
    return {**environment, "WORKBENCH_LAKE": named, "JUPYTER_CONFIG_PATH": os.pathsep.join(paths)}


def open_lab(folder: Path, *, lake: str, port: int | None = None, browser: bool = True, root: bool = False) -> None:
    """Become JupyterLab: signals and the exit status are its own from here on. Does not return."""
    sys.stdout.flush()
    sys.stderr.flush()
    command = lab_command(folder, port=port, browser=browser, root=root)
    os.execve(command[0], command, lab_environment(os.environ, lake=lake))  # noqa: S606  # no shell
