"""``%%events`` in a real IPython: queries give frames, mistakes one sentence, and nothing else changes its look."""

from __future__ import annotations

import atexit
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

from tests.jupyter.things import EVENTS, HOSTILE, things
from workbench.errors import WorkbenchError


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A shell of its own, in a directory with a lake, with the extension loaded."""
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.delenv("WORKBENCH_LAKE", raising=False)
    monkeypatch.chdir(tmp_path)
    things(tmp_path)
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])  # for which the shell puts a module of its own
    ipython: Any = InteractiveShell  # which says of none of its methods what they take
    made = ipython(config=Config({"HistoryManager": {"enabled": False}}))
    made.run_line_magic("load_ext", "workbench")
    yield made
    atexit.unregister(made.atexit_operations)
    made.atexit_operations()


def run(shell: Any, cell: str) -> Any:
    """Run a cell that succeeds, and return what it gives."""
    result = shell.run_cell(cell, store_history=False)
    result.raise_error()
    return result.result


def html(shell: Any, value: Any) -> str:
    """What a notebook shows of a value."""
    return str(shell.display_formatter.format(value)[0]["text/html"])


def test_a_cell_of_sql_gives_a_frame_that_shows_itself_as_a_table(shell: Any) -> None:
    found = run(shell, "%%events --lake lake\nselect type, count(*) as events from events group by 1 order by 2 desc, 1 limit 2")
    assert found.rows() == [("thing.begun", 2), ("thing.grown", 2)]
    assert 'class="wb-table"' in html(shell, found)


def test_a_cell_that_would_write_is_refused_before_it_has_written(shell: Any, tmp_path: Path) -> None:
    result = shell.run_cell(f"%%events --lake lake\ncopy (select 1) to '{tmp_path / 'x.csv'}'", store_history=False)
    assert isinstance(result.error_in_exec, WorkbenchError)
    assert "one SELECT" in str(result.error_in_exec)
    assert not (tmp_path / "x.csv").exists()


def test_other_frames_keep_the_look_that_polars_gives_them(shell: Any) -> None:
    run(shell, "%events --lake lake select 1")
    own = pl.DataFrame({"a": [1]})
    assert html(shell, own) == own._repr_html_()


def test_what_the_data_says_is_escaped(shell: Any) -> None:
    found = run(shell, "%events --lake lake select data ->> 'name' as name from events where position = 400")
    assert found.item() == HOSTILE
    assert HOSTILE not in html(shell, found)


def test_a_line_of_sql_is_an_expression_and_is_taken_as_it_stands(shell: Any) -> None:
    run(shell, "n = 3\nx = %events --lake lake select {'n': 1}.n as n, '$n' as text, data ->> '$.name' as name from events limit 1")
    assert run(shell, "x").rows() == [(1, "$n", "one")]


def test_out_keeps_the_frame_and_the_lake_is_remembered(shell: Any) -> None:
    run(shell, "%%events -o kept --lake lake\nselect count(*) as n from events;")
    assert run(shell, "kept").item() == len(EVENTS)
    assert run(shell, "%events --at 200 select count(*) as n from events").item() == 2


@pytest.mark.parametrize("at", ["300", "2026-01-05T02:30:00Z", "'2026-01-05 02:30:00+00:00'"])
def test_at_asks_of_the_history_as_it_was(shell: Any, at: str) -> None:
    assert run(shell, f"%%events --lake lake --at {at}\nselect count(*) as n from events").item() == 3


def test_a_timeline_of_the_notebook_is_asked_by_its_name(shell: Any) -> None:
    run(shell, "import workbench as wb\nlake = wb.open('lake')\nfork = lake.timeline.drop(type='thing.grown')")
    assert run(shell, "%events -t lake select count(*) from events").item() == len(EVENTS)
    assert run(shell, "%events -t fork select count(*) from events").item() == len(EVENTS) - 2
    assert run(shell, "%events -t fork") == run(shell, "fork")


def test_a_scenario_is_a_what_if(shell: Any) -> None:
    Path("no-growth.yaml").write_text("name: no growth\nedits:\n  - drop: {type: thing.grown}\n")
    assert run(shell, "%events --lake lake --scenario no-growth.yaml select count(*) from events").item() == len(EVENTS) - 2


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ("%events --lake nowhere select 1", "There is no lake at nowhere"),
        ("%events --lake lake selct 1", 'syntax error at or near "selct"'),
        ("%%events --lake lake\nselect type::int from events", "Could not convert string 'thing.begun'"),
        ("%events --lake lake --at 2026-01-05T02:30 select 1", "has no time zone"),
        ("%events --lakes lake select 1", "no option --lakes; it has -o, --out"),
        ("%events --lake lake -o 1x select 1", "no name that Python could have"),
        ("%events --lake", "--lake needs a value"),
        ("%events --lake 'lake select 1", "cannot be read"),
        ("%events -t fork select 1", "There is no timeline fork in this notebook; there is none yet"),
        ("text = 'a'\n%events -t text select 1", "-t text is a str and no timeline"),
        ("%%events select 1\nselect 2", "the query below it"),
    ],
)
def test_a_mistake_is_one_sentence_and_stops_the_run(shell: Any, capsys: pytest.CaptureFixture[str], cell: str, said: str) -> None:
    result = shell.run_cell(cell)
    assert isinstance(result.error_in_exec, WorkbenchError)
    shown = capsys.readouterr().out.strip()
    assert said in shown
    assert "Traceback" not in shown
    assert len(shown.splitlines()) == 1


def test_unloading_takes_the_magic_and_the_look_away(shell: Any) -> None:
    found = run(shell, "%events --lake lake select 1 as a")
    shell.run_line_magic("unload_ext", "workbench")
    assert html(shell, found) == found._repr_html_()
    assert shell.find_line_magic("events") is None


def test_loading_the_extension_loads_nothing_heavy() -> None:
    code = (
        "import sys\nfrom IPython.core.interactiveshell import InteractiveShell\n"
        "from traitlets.config import Config\n"
        "shell = InteractiveShell(config=Config({'HistoryManager': {'enabled': False}}))\n"
        "shell.run_line_magic('load_ext', 'workbench')\n"
        "print(sorted({'polars', 'duckdb', 'deltalake', 'pyarrow', 'anywidget', 'plotly', 'numpy'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert found.stdout.strip() == "[]"
