"""The notebooks are reports of an empty log too, as a new store has it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lakes import START, Recorded, write_lake
from tests.notebooks.cells import show
from tests.stores import Store
from workbench.errors import BeyondExport
from workbench.export import export_log
from workbench.lake import open_lake


@pytest.mark.parametrize("name", ["state_at_a_time", "store_overview", "activity"])
def test_a_notebook_runs_over_the_export_of_an_empty_log(store: Store, tmp_path: Path, name: str) -> None:
    export_log(store.uri, tmp_path / "lake")
    shown = show(name, lake=tmp_path / "lake")
    assert any("There is nothing to draw." in text for text in shown)
    assert not any("more rows not shown" in text for text in shown)


def test_where_nothing_was_exported_a_position_is_refused_without_naming_another(store: Store, tmp_path: Path) -> None:
    export_log(store.uri, tmp_path / "lake")
    with pytest.raises(BeyondExport, match=r"Position 7 is beyond the lake .*, which holds nothing yet: export first"):
        open_lake(tmp_path / "lake").timeline.upto(7)


def test_a_list_of_the_first_thousand_says_how_many_streams_there_are_in_all(tmp_path: Path) -> None:
    events = [Recorded("a", START, f"a-{number}") for number in range(1200)]
    shown = show("store_overview", lake=write_lake(tmp_path / "lake", events))
    [longest] = [text for text in shown if "The longest streams" in text]
    assert "1,190 more rows not shown." in longest
