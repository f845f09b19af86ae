"""`visible` leaves out what KurrentDB hides from readers of streams, as it was at the cutoff."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest

from tests.lake.histories import COMPLETE, Row, checkpoint_at, lake_of, open_writer, row, table, tombstone
from tests.metadata_cases import CASES
from workbench.errors import UsageError
from workbench.events import MAX_POSITION, Selection
from workbench.lake import open_lake
from workbench.timeline import Timeline


def metadata(position: int, stream: str, *, revision: int = 0, **settings: int) -> Row:
    """The event that sets a stream's metadata: tb, maxCount, maxAge."""
    data = json.dumps({f"${name}": value for name, value in settings.items()})
    return row(position, f"$${stream}", revision=revision, type="$metadata", data=data)


def stream_of(name: str, *positions: int) -> list[Row]:
    return [row(position, name, revision=revision) for revision, position in enumerate(positions)]


def seen(timeline: Timeline) -> list[int]:
    """The positions that are visible, by all three ways of asking, which must agree."""
    visible = timeline.visible()
    positions: list[int] = visible.events().collect()["position"].to_list()
    assert visible.sql("select position from events order by 1").fetchall() == [(position,) for position in positions]
    assert visible.count() == len(positions)
    return positions


def timeline_of(path: Path, *rows: Row) -> Timeline:
    return lake_of(path, sorted(rows, key=lambda event: event["position"]), batch=3).timeline


def test_without_metadata_everything_is_visible(tmp_path: Path) -> None:
    assert seen(timeline_of(tmp_path, *stream_of("user-1", 1, 2, 3))) == [1, 2, 3]


def test_truncate_before_hides_lower_revisions(tmp_path: Path) -> None:
    timeline = timeline_of(tmp_path, *stream_of("user-1", 1, 2, 3), *stream_of("user-2", 4), metadata(5, "user-1", tb=2))
    assert seen(timeline) == [3, 4]
    assert seen(timeline.upto(position=4)) == [1, 2, 3, 4]


def test_max_count_keeps_the_last_at_the_cutoff(tmp_path: Path) -> None:
    timeline = timeline_of(tmp_path, metadata(1, "user-1", maxCount=2), *stream_of("user-1", 2, 3, 4, 5), *stream_of("user-2", 6, 7, 8))
    assert seen(timeline) == [4, 5, 6, 7, 8]
    assert seen(timeline.upto(position=4)) == [3, 4]
    assert seen(timeline.types("none")) == []
    assert seen(timeline.after(position=4).streams("user-1")) == [5]


def test_max_age_counts_back_from_the_cutoff(tmp_path: Path) -> None:
    rows = stream_of("user-1", 10, 20, 30)
    timeline = timeline_of(tmp_path, metadata(1, "user-1", maxAge=10), *rows)
    assert seen(timeline) == []
    assert seen(timeline.upto(position=30)) == [20, 30]
    assert seen(timeline.upto(rows[-1]["recorded_at"] + timedelta(microseconds=1))) == [30]
    assert seen(timeline.upto(COMPLETE)) == []


def test_a_deleted_stream_is_hidden_and_comes_back_with_what_is_appended_later(tmp_path: Path) -> None:
    timeline = timeline_of(
        tmp_path,
        *stream_of("user-1", 1, 2),
        metadata(3, "user-1", tb=MAX_POSITION),
        metadata(4, "user-1", revision=1, tb=2),
        row(5, "user-1", revision=2),
    )
    assert seen(timeline.upto(position=3)) == []
    assert seen(timeline) == [5]
    assert timeline.count() == 3


def test_a_tombstone_hides_a_stream_with_its_metadata(tmp_path: Path) -> None:
    timeline = timeline_of(
        tmp_path, *stream_of("user-1", 1, 2), metadata(3, "user-1", maxCount=1), tombstone(4, "user-1"), *stream_of("user-2", 5)
    )
    assert seen(timeline) == [5]
    assert seen(timeline.with_system()) == [5]
    assert seen(timeline.upto(position=3)) == [2]


def test_a_metadata_stream_shows_its_last_event_only(tmp_path: Path) -> None:
    timeline = timeline_of(tmp_path, metadata(1, "user-1", tb=0), metadata(2, "user-1", revision=1, maxCount=5), *stream_of("user-1", 3))
    assert seen(timeline.with_system()) == [2, 3]


def test_of_several_metadata_the_last_counts_and_replaces_the_others(tmp_path: Path) -> None:
    timeline = timeline_of(
        tmp_path, *stream_of("user-1", 1, 2, 3), metadata(4, "user-1", tb=2), metadata(5, "user-1", revision=1, maxCount=3)
    )
    assert seen(timeline) == [1, 2, 3]


@pytest.mark.parametrize(("data", "revisions"), CASES, ids=lambda value: str(value[:40]))
def test_metadata_hides_what_it_hides_on_the_server(tmp_path: Path, data: bytes, revisions: list[int]) -> None:
    rows = [*stream_of("user-1", 1, 2, 3, 4, 5), set_metadata(6, "user-1", data)]
    assert seen(timeline_of(tmp_path, *rows)) == [revision + 1 for revision in revisions]


def test_metadata_that_is_not_marked_as_json_hides_nothing(tmp_path: Path) -> None:
    event = {**row(3, "$$user-1", type="$metadata", data='{"$maxCount":1}'), "is_json": False}
    assert seen(timeline_of(tmp_path, *stream_of("user-1", 1, 2), event)) == [1, 2]


def set_metadata(position: int, stream: str, data: bytes) -> Row:
    """The event that sets a stream's metadata, as an export keeps it: JSON as text, what is none as bytes."""
    try:
        json.loads(data.decode(), parse_constant=float)
        text = data.decode()
    except (ValueError, RecursionError):
        text = None
    return {**row(position, f"$${stream}", type="$metadata", data=data if text is None else text), "is_json": True}


# -- in a lake with a selection


def selected(path: Path, selection: Selection, *rows: Row) -> Timeline:
    """The timeline of a lake that holds these rows as what a selection chose."""
    ordered = sorted(rows, key=lambda event: event["position"])
    with open_writer(path, selection=selection) as writer:
        writer.append(table(ordered), checkpoint_at(ordered[-1]))
    return open_lake(path).timeline


@pytest.mark.parametrize("selection", [Selection(categories=("user",)), Selection(streams=("user-*",)), Selection(streams=("*er-1",))])
def test_where_whole_streams_were_chosen_what_is_visible_is_known(tmp_path: Path, selection: Selection) -> None:
    timeline = selected(
        tmp_path,
        selection,
        *stream_of("user-1", 1, 2, 3),
        metadata(4, "user-1", maxCount=1),
        *stream_of("user-21", 5, 6),
        tombstone(7, "user-21"),
    )
    assert seen(timeline) == [3]
    assert seen(timeline.upto(position=6)) == [3, 5, 6]


def test_a_lake_without_all_types_of_events_cannot_say_what_is_visible(tmp_path: Path) -> None:
    timeline = selected(tmp_path, Selection(types=("happened",)), *stream_of("user-1", 1, 2)).visible()
    with pytest.raises(UsageError, match="types happened"):
        timeline.count()


@pytest.mark.parametrize(
    "selection",
    [Selection(streams=("$$user-*",)), Selection(streams=("$*",)), Selection(streams=("*$user-1",)), Selection(categories=("$$user",))],
)
def test_a_lake_of_metadata_alone_cannot_say_which_of_it_is_visible(tmp_path: Path, selection: Selection) -> None:
    timeline = selected(tmp_path, selection, metadata(1, "user-1", tb=1)).visible()
    with pytest.raises(UsageError, match="tombstones"):
        timeline.count()


def test_an_age_counts_back_from_a_position_whose_time_is_known(tmp_path: Path) -> None:
    rows = stream_of("user-1", 10, 20, 30)
    timeline = selected(tmp_path, Selection(categories=("user",)), metadata(1, "user-1", maxAge=10), *rows)
    assert seen(timeline.upto(position=20)) == [10, 20]
    assert seen(timeline.upto(rows[1]["recorded_at"] + timedelta(microseconds=1))) == [20]
    with pytest.raises(UsageError, match="Name a time"):
        timeline.upto(position=25).visible().count()
