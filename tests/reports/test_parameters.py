"""What a notebook declares is read without running it, and nothing else gets in."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.reports.notebooks import write_notebook
from workbench.errors import ReportError, UsageError
from workbench.reports import declared_parameters, find_notebook, shipped_notebooks
from workbench.reports.parameters import Parameter, check_parameters

DECLARED = """\
from typing import Literal
# how fine the figure is:
# a day by default
every: Literal["1d", "1w"] | None = "1d"
uri: str = "esdb://h:2113?tls=false&x=#y"  # an address, with "=" and "#"
most: int = 20
ratio: float = -0.5
exact: bool = False
names: list[str] = ["a"]
plain = 3
"""


def declare(folder: Path, source: str) -> tuple[Parameter, ...]:
    return declared_parameters(write_notebook(folder / "n.ipynb", parameters=source))


def test_parameters_are_read_with_type_default_and_comment(tmp_path: Path) -> None:
    assert declare(tmp_path, DECLARED)[2:] == (
        Parameter("every", "Literal['1d', '1w'] | None", "1d", "how fine the figure is: a day by default"),
        Parameter("uri", "str", "esdb://h:2113?tls=false&x=#y", 'an address, with "=" and "#"'),
        Parameter("most", "int", 20, ""),
        Parameter("ratio", "float", -0.5, ""),
        Parameter("exact", "bool", False, ""),
        Parameter("names", "list[str]", ["a"], ""),
        Parameter("plain", "int", 3, ""),
    )


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("every", "1w", "1w"), ("every", "none", None), ("uri", "2026", "2026"), ("uri", "a=b", "a=b"), ("most", "7", 7),
        ("ratio", "1e3", 1000.0), ("ratio", "2", 2), ("exact", "true", True), ("names", '["x", "y"]', ["x", "y"]),
    ],
)  # fmt: skip
def test_a_text_of_the_command_line_becomes_a_value_of_the_declared_type(tmp_path: Path, name: str, text: str, value: object) -> None:
    given = check_parameters(tmp_path / "n.ipynb", declare(tmp_path, DECLARED), [f"{name}={text}"])
    assert given == {name: value}
    assert type(given[name]) is type(value)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"evry": "1d"}, "no parameter 'evry'.*every: Literal"),
        ({"every": "1y"}, "every='1y' does not fit"),
        ({"most": True}, "most=True does not fit"),
        ({"most": 1.5}, "most=1.5 does not fit"),
        ({"most": None}, "most=None does not fit"),
        ({"names": ["a", 1]}, "does not fit"),
        ({"names": {"a": 1}}, "does not fit"),
        ({"__import__('os')": 1}, "no parameter"),
        (["most"], "write NAME=VALUE"),
        (["most=many"], "most=many does not fit: most: int = 20"),
        (["exact=yes"], "exact=yes does not fit"),
    ],
)
def test_what_is_not_declared_or_of_another_type_is_refused(tmp_path: Path, given: dict[str, object] | list[str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        check_parameters(tmp_path / "n.ipynb", declare(tmp_path, DECLARED), given)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("x: int = 1 +", "no Python"),
        ("x: int = len('a')", "no literal"),
        ("x = None", "needs a type"),
        ("x: int", "only `name: type = literal`"),
        ("print(1)", "only `name: type = literal`"),
        ("a, b = 1, 2", "only `name: type = literal`"),
        ("x: dict = {}", "the type dict is not one of"),
        ("x: int = 'a'", "its default is no int"),
    ],
)
def test_a_parameters_cell_that_cannot_be_read_says_where(tmp_path: Path, source: str, said: str) -> None:
    with pytest.raises(ReportError, match=said):
        declare(tmp_path, source)


def test_a_notebook_without_a_parameters_cell_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match="no cell tagged 'parameters'"):
        declared_parameters(write_notebook(tmp_path / "n.ipynb", "1", parameters=None))


@pytest.mark.parametrize("content", ["", "[]", '{"nbformat": 3, "worksheets": []}', '{"nbformat": 4}'])
def test_a_file_that_is_no_notebook_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "n.ipynb").write_text(content)
    with pytest.raises(ReportError, match=r"n\.ipynb"):
        declared_parameters(tmp_path / "n.ipynb")


def test_a_notebook_is_found_by_name_and_by_path(tmp_path: Path) -> None:
    assert find_notebook("event_types") == shipped_notebooks()["event_types"]
    path = write_notebook(tmp_path / "mine.ipynb")
    assert find_notebook(path) == path.resolve()
    with pytest.raises(UsageError, match="event_types"):
        find_notebook("event_typos")


def test_an_installed_package_finds_its_notebooks_inside_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "site-packages" / "workbench"
    (package / "notebooks").mkdir(parents=True)
    # Another package's folder of the same name, beside ours.
    (tmp_path / "site-packages" / "notebooks").mkdir()
    write_notebook(tmp_path / "site-packages" / "notebooks" / "foreign.ipynb")
    write_notebook(package / "notebooks" / "ours.ipynb")
    monkeypatch.setattr("workbench.__file__", str(package / "__init__.py"))
    assert list(shipped_notebooks()) == ["ours"]


@pytest.mark.parametrize("path", shipped_notebooks().values(), ids=str)
def test_every_notebook_that_we_ship_declares_commented_parameters(path: Path) -> None:
    declared = declared_parameters(path)
    assert {"lake", "at"} <= {parameter.name for parameter in declared}
    assert all(parameter.help for parameter in declared)


@pytest.mark.parametrize("path", shipped_notebooks().values(), ids=str)
def test_every_notebook_that_we_ship_is_stored_without_outputs(path: Path) -> None:
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None
        assert set(cell["metadata"]) <= {"tags"}
