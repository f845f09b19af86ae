"""The front door: what is exported is what is meant to be, it is cheap to open, and the pieces fit the documents."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import workbench as wb
from tests.materialised.test_materialised import write
from tests.replay.told import mixed
from workbench import errors
from workbench.errors import UsageError

ROOT = Path(__file__).parent.parent


class Someone(wb.Projection, category="user"):
    name: str | None
    handlers = (wb.on("created").create("name"),)


def test_every_public_name_is_there_and_all_is_sorted() -> None:
    assert wb.__all__ == sorted(wb.__all__)
    for name in wb.__all__:
        assert getattr(wb, name) is not None
    assert set(wb.__all__) <= set(dir(wb))


def test_the_front_door_shows_the_names_of_its_stub_and_no_others() -> None:
    stub = ast.parse((ROOT / "workbench" / "__init__.pyi").read_text(encoding="utf-8"))
    meant = [alias.asname for node in stub.body if isinstance(node, ast.ImportFrom) and node.level for alias in node.names]
    assert sorted(meant, key=str) == wb.__all__ == dir(wb)
    assert len(meant) <= 45
    assert all(getattr(wb, name).__doc__ for name in wb.__all__ if name != "event")


def test_no_room_takes_the_place_of_a_public_function_of_its_name() -> None:
    """Importing a room sets it as an attribute of the package."""
    rooms = {path.stem for path in Path(wb.__file__).parent.iterdir()}
    assert {name for name in wb.__all__ if name in rooms and not inspect.ismodule(getattr(wb, name))} == set()


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(AttributeError, match="distribution"):
        getattr(wb, "distributon")  # noqa: B009  # which the stub does not know


def test_the_distribution_is_the_event_workbench_of_this_version_under_apache_2() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert (project["name"], project["version"], project["license"]) == ("event-workbench", wb.__version__, "Apache-2.0")
    [file] = project["license-files"]
    assert "Apache License\n                           Version 2.0" in (ROOT / file).read_text(encoding="utf-8")


def test_no_document_installs_what_is_called_workbench_on_the_package_index() -> None:
    documents = [ROOT / "README.md", *ROOT.glob("docs/**/*.md"), *ROOT.rglob("workbench/**/*.py"), *ROOT.glob("notebooks/*.ipynb")]
    assert len(documents) > 100
    for document in documents:
        assert not re.search(r"pip install (-\S+ )*['\"]?workbench\b", document.read_text(encoding="utf-8")), document


def test_everything_that_the_workbench_imports_is_an_ordinary_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert "optional-dependencies" not in project
    assert any(dependency.startswith("anywidget") for dependency in project["dependencies"])


@pytest.mark.parametrize("code", ["import workbench as wb; wb.open('lake')", "from workbench.cli import main; main()"])
def test_without_the_locks_of_posix_as_on_windows_one_sentence_names_wsl2(code: str) -> None:
    lines = f"import sys; sys.modules['fcntl'] = None; {code}"
    found = subprocess.run([sys.executable, "-c", lines], check=False, capture_output=True, text=True)
    assert found.returncode == 1
    assert found.stderr.splitlines()[-1].endswith(
        "The workbench runs on Linux and macOS only, because it needs their file locks: on Windows, install and run it inside WSL2."
    )
    assert len(found.stderr.splitlines()) == 1 or "wb.open" in code


def test_importing_the_workbench_loads_nothing_heavy() -> None:
    heavy = "{'polars', 'duckdb', 'deltalake', 'pyarrow', 'grpc', 'esdbclient', 'plotly', 'papermill', 'nbconvert', 'numpy', 'rich'}"
    code = f"import sys, workbench, workbench.cli; print(sorted({heavy} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert found.stdout.strip() == "[]"


def test_whatever_is_asked_of_a_timeline_says_so_when_it_is_given_a_lake(tmp_path: Path) -> None:
    lake = wb.open(write(tmp_path / "lake", mixed(("user-a", "created", {"name": "Ann"}))).path)
    given: dict[str, Any] = {
        "actor": wb.event.data["name"],
        "category": "user",
        "correlation_id": "c",
        "field": "name",
        "file": tmp_path / "file",
        "frame": pl.DataFrame({"key": ["a"]}),
        "key": "a",
        "named": pl.len(),
        "on": "key",
        "path": tmp_path / "file",
        "projection": Someone,
        "scenario": wb.Scenario("Nothing", edits=()),
        "where": pl.lit(value=True),
        "workflow": wb.Workflow(start="created", done="done"),
    }
    asked = 0
    for function in [getattr(room, name) for room in (wb, wb.analysis) for name in room.__all__]:
        parameters = inspect.signature(function).parameters if inspect.isfunction(function) else {}
        ours = {name for name, parameter in parameters.items() if parameter.annotation in ("Timeline", "Timeline | None")}
        if not ours:
            continue
        needed = {name for name, one in parameters.items() if one.default is one.empty and one.kind != one.VAR_POSITIONAL}
        with pytest.raises(UsageError, match=r"asked of a timeline, and a Lake was given: write lake\.timeline"):
            function(**dict.fromkeys(ours, lake), **{name: given[name] for name in needed - ours})
        asked += 1
    assert asked > 20
    for name, hint in (("upto", r", but its timeline has: write lake\.timeline\.upto"), ("uptown", "")):
        with pytest.raises(AttributeError, match=rf"^A Lake has no '{name}'{hint}\.$"):
            getattr(lake, name)
    assert [one.name for one in tmp_path.iterdir()] == ["lake"]


def test_the_tree_in_the_docstring_of_errors_names_every_error() -> None:
    assert errors.__doc__ is not None
    tree = [line.replace("│", " ") for line in errors.__doc__.splitlines() if "──" in line or line.strip() == "WorkbenchError"]
    drawn = {line.replace("├──", "").replace("└──", "").split()[0]: line.index(line.strip()[0]) // 4 for line in tree}
    classes = {name: cls for name, cls in vars(errors).items() if isinstance(cls, type) and issubclass(cls, errors.WorkbenchError)}
    assert set(drawn) == set(classes)
    order = [name for name in drawn if name != "WorkbenchError"]
    parents = {"WorkbenchError": None} | {
        name: next((above for above in reversed(order[: order.index(name)]) if drawn[above] < drawn[name]), "WorkbenchError")
        for name in order
    }
    for name, parent in parents.items():
        if parent is not None:
            assert issubclass(classes[name], classes[parent]), f"{name} is drawn below {parent}"


def test_every_error_says_when_it_is_raised() -> None:
    for name, cls in vars(errors).items():
        if isinstance(cls, type) and name != "WorkbenchError":
            begins = "Issued when " if issubclass(cls, Warning) else "Raised when "
            assert (cls.__doc__ or "").startswith(begins), name
