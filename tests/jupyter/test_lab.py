"""``workbench lab``: which notebooks it puts where, and how JupyterLab is started."""

from __future__ import annotations

import ast
import json
import os
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.jupyter.things import things
from workbench.cli.app import app
from workbench.errors import UsageError
from workbench.jupyter.lab import lab_command, lab_environment
from workbench.jupyter.notebooks import copy_notebooks
from workbench.reports.notebook_files import shipped_notebooks


def _lake(notebook: Path) -> str:
    """The lake that a notebook opens."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    [parameters] = ["".join(cell["source"]) for cell in cells if "parameters" in cell["metadata"].get("tags", ())]
    values = {
        node.target.id: ast.literal_eval(node.value)
        for node in ast.parse(parameters).body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None
    }
    return str(values["lake"])


def test_every_notebook_is_copied_and_opens_the_lake_that_was_named(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "mine"
    copied = copy_notebooks(folder, lake=str(tmp_path / "my 'own' lake"))
    assert set(copied.written) == set(shipped_notebooks())
    for name in copied.written:
        assert _lake(folder / f"{name}.ipynb") == str(tmp_path / "my 'own' lake")


def test_a_relative_lake_is_named_from_where_the_notebooks_lie(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    copy_notebooks(Path("notebooks"), lake="data/demo")
    assert _lake(Path("notebooks/event_types.ipynb")) == "../data/demo"
    copy_notebooks(Path("others"), lake="s3://bucket/demo")
    assert _lake(Path("others/event_types.ipynb")) == "s3://bucket/demo"


def test_a_copy_that_was_changed_is_never_overwritten_and_others_follow_the_lake(tmp_path: Path) -> None:
    copy_notebooks(tmp_path, lake="/one")
    changed = tmp_path / "event_types.ipynb"
    changed.write_text(changed.read_text(encoding="utf-8").replace("Which event", "My event"), encoding="utf-8")
    mine = changed.read_bytes()
    (tmp_path / "own.ipynb").write_text("{}")
    copied = copy_notebooks(tmp_path, lake="/two")
    assert copied.kept == ("event_types",)
    assert changed.read_bytes() == mine
    assert (tmp_path / "own.ipynb").read_text() == "{}"
    for name in copied.written:
        assert _lake(tmp_path / f"{name}.ipynb") == "/two"


def test_copying_twice_writes_once_and_without_a_record_nothing_is_overwritten(tmp_path: Path) -> None:
    copy_notebooks(tmp_path, lake="/one")
    again = copy_notebooks(tmp_path, lake="/one")
    assert (again.written, again.kept) == ((), ())
    (tmp_path / ".workbench-notebooks.json").write_text("[")
    assert set(copy_notebooks(tmp_path, lake="/two").kept) == set(shipped_notebooks())


def test_the_notebooks_themselves_stay_as_they_are() -> None:
    [folder] = {path.parent for path in shipped_notebooks().values()}
    before = {path: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    assert copy_notebooks(folder, lake="/elsewhere").in_place
    assert {path: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before


def test_a_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"cannot be copied to .*Name another folder"):
        copy_notebooks(tmp_path / "file", lake="/one")


def test_jupyterlab_serves_this_machine_with_a_token_and_asks_nobody(tmp_path: Path) -> None:
    command = lab_command(tmp_path, port=9999, browser=False)
    assert {"--ServerApp.ip=127.0.0.1", "--ServerApp.port=9999", "--ServerApp.open_browser=False", "--LabApp.news_url=None"} <= set(command)
    assert not [word for word in command if "token" in word.lower() or "password" in word.lower() or "allow_root" in word]
    found = lab_environment({"JUPYTER_CONFIG_PATH": "/own", "A": "b"}, lake="data/demo")
    assert found["A"] == "b"
    assert found["WORKBENCH_LAKE"] == str(Path("data/demo").resolve())
    ours, own = found["JUPYTER_CONFIG_PATH"].split(os.pathsep)
    assert own == "/own"
    assert json.loads((Path(ours) / "labconfig" / "page_config.json").read_text())["disabledExtensions"]


def test_the_command_readies_lake_and_notebooks_and_becomes_jupyterlab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    became: list[Any] = []
    monkeypatch.setattr("os.execve", lambda *given: became.append(given))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WORKBENCH_LAKE", raising=False)
    things(tmp_path)
    result = CliRunner().invoke(app, ["lab", "--lake", "lake", "--no-browser"])
    assert result.exit_code == 0, result.output
    assert "event_types" in result.output
    [(_, command, environment)] = became
    assert f"--ServerApp.root_dir={tmp_path / 'notebooks'}" in command
    assert environment["WORKBENCH_LAKE"] == str(tmp_path / "lake")


def test_a_lake_that_is_not_there_is_said_before_anything_is_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["lab", "--lake", "nowhere"])
    assert result.exit_code == 1
    assert "There is no lake at nowhere" in result.output
    assert list(tmp_path.iterdir()) == []
