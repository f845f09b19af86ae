"""What holds of a log, wherever its records are kept."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from tests.embedded.logs import everything, open_log, visible
from tests.embedded.wire import events
from tests.metadata_cases import ALL, CASES
from workbench.embedded import ANY, NO_STREAM, STREAM_EXISTS, Clock, NewEvent, Tombstoned, WrongRevision
from workbench.embedded.recording.layout import CHUNK
from workbench.embedded.recording.log import Log
from workbench.embedded.recording.records import MAX_REVISION


@pytest.fixture
def clock() -> Clock:
    return Clock(datetime(2026, 3, 1, tzinfo=UTC))


@pytest.fixture(params=["memory", "sqlite"])
def log(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> Iterator[Log]:
    log, close = open_log(None if request.param == "memory" else tmp_path / "data", now=clock)
    yield log
    close()


def metadata(text: str) -> list[NewEvent]:
    return [NewEvent(uuid4(), "$metadata", text.encode())]


# -- expected revisions


def test_revisions_count_from_zero_in_each_stream(log: Log) -> None:
    assert log.append("a", events(2)).revision == 1
    assert log.append("b", events(1)).revision == 0
    assert log.append("a", events(1)).revision == 2


def test_an_append_that_expects_the_current_revision_is_taken(log: Log) -> None:
    log.append("a", events(1), expected=NO_STREAM)
    assert log.append("a", events(1), expected=0).revision == 1
    assert log.append("a", events(1), expected=STREAM_EXISTS).revision == 2
    assert log.append("a", events(1), expected=ANY).revision == 3


@pytest.mark.parametrize("expected", [NO_STREAM, 0, 2])
def test_an_append_that_expects_another_revision_is_refused_and_leaves_nothing(log: Log, expected: int) -> None:
    log.append("a", events(2))
    with pytest.raises(WrongRevision) as caught:
        log.append("a", events(3), expected=expected)
    log.flush()
    assert (caught.value.expected, caught.value.current, log.published) == (expected, 1, 2)


@pytest.mark.parametrize("expected", [0, STREAM_EXISTS])
def test_a_stream_that_is_not_there_has_no_revision(log: Log, expected: int) -> None:
    with pytest.raises(WrongRevision) as caught:
        log.append("a", events(1), expected=expected)
    assert caught.value.current == NO_STREAM


def test_a_stream_with_metadata_alone_exists(log: Log) -> None:
    log.append("$$a", metadata('{"x":1}'))
    assert log.append("a", events(1), expected=STREAM_EXISTS).revision == 0


def test_an_append_builds_on_one_that_is_not_yet_written(log: Log) -> None:
    log.append("a", events(1), expected=NO_STREAM)
    assert log.append("a", events(1), expected=0).revision == 1
    assert log.published == 0
    log.flush()
    assert visible(log, "a") == [0, 1]


# -- idempotency


@pytest.mark.parametrize("expected", [NO_STREAM, ANY, STREAM_EXISTS])
@pytest.mark.parametrize("flushed", [True, False])
def test_an_append_that_comes_again_answers_as_before_and_records_nothing(log: Log, expected: int, *, flushed: bool) -> None:
    log.append("$$a", metadata("{}"))
    first = log.append("a", batch := events(3), expected=expected)
    log.append("a", events(1))
    if flushed:
        log.flush()
    again = log.append("a", batch, expected=expected)
    log.flush()
    assert (again.revision, again.commit, again.prepare) == (first.revision, first.commit, first.prepare)
    assert log.published == 5


def test_the_beginning_of_an_append_that_comes_again_is_idempotent_too(log: Log) -> None:
    log.append("a", batch := events(3), expected=NO_STREAM)
    assert log.append("a", batch[:2], expected=NO_STREAM).revision == 1


def test_an_append_that_repeats_one_and_goes_on_otherwise_is_refused(log: Log) -> None:
    log.append("a", batch := events(2), expected=NO_STREAM)
    for expected in (NO_STREAM, ANY):
        with pytest.raises(WrongRevision):
            log.append("a", [*batch, *events(1)], expected=expected)


def test_the_same_id_in_another_stream_is_another_event(log: Log) -> None:
    log.append("a", batch := events(1))
    assert log.append("b", batch).revision == 0
    log.flush()
    assert log.published == 2


def test_an_event_recorded_at_another_revision_is_no_repetition(log: Log) -> None:
    log.append("a", events(1))
    log.append("a", late := events(1), expected=0)
    with pytest.raises(WrongRevision):
        log.append("a", late, expected=NO_STREAM)


# -- positions and times


def test_positions_rise_with_gaps_and_depend_on_content_alone(tmp_path: Path) -> None:
    def positions(folder: Path | None, moment: datetime) -> list[int]:
        log, close = open_log(folder, now=Clock(moment))
        log.append("a", events(3))
        log.append("stream-with-a-longer-name", [NewEvent(uuid4(), "t", b"x" * 1000)])
        log.delete("a")
        log.append("a", events(1))
        log.tombstone("a")
        log.flush()
        close()
        return list(log.commits)

    one = positions(None, datetime(2020, 1, 1, tzinfo=UTC))
    other = positions(tmp_path / "data", datetime(2026, 1, 1, tzinfo=UTC))
    assert one == other
    assert all(later - earlier > 1 for earlier, later in pairwise(one))


def test_no_record_crosses_the_cut_between_two_chunks(log: Log) -> None:
    log.append("a", events(1))
    log.end = CHUNK - 10
    log.append("a", events(1))
    assert log.commits[-1] == CHUNK
    log.flush()
    assert log.begins(CHUNK, head=2)
    assert not log.begins(CHUNK - 5, head=2)


def test_an_event_keeps_its_own_time_and_others_take_the_clocks(log: Log, clock: Clock) -> None:
    log.append("a", [NewEvent(uuid4(), "t", created=17)])
    clock.set(4711)
    log.append("a", events(1))
    clock.set(42)  # backwards
    log.append("a", events(1))
    assert list(log.created) == [17, 4711, 42]


# -- metadata and deletion


def test_max_count_hides_all_but_the_last_events(log: Log) -> None:
    log.append("a", events(5))
    log.append("$$a", metadata('{"$maxCount":2}'))
    log.flush()
    assert visible(log, "a") == [3, 4]


def test_truncate_before_hides_earlier_revisions(log: Log) -> None:
    log.append("a", events(4))
    log.append("$$a", metadata('{"$tb":3}'))
    log.flush()
    assert visible(log, "a") == [3]
    log.append("$$a", metadata('{"$tb":9}'))
    log.flush()
    assert visible(log, "a") == []


def test_max_age_hides_events_that_grew_too_old(log: Log, clock: Clock) -> None:
    log.append("$$a", metadata('{"$maxAge":60}'))
    for _ in range(3):
        log.append("a", events(1))
        clock.advance(timedelta(seconds=40))
    log.flush()
    assert visible(log, "a") == [2]


@pytest.mark.parametrize("text", ["", "[]", "null", "{", '{"$maxCount":"2"}', '{"$maxCount":0}', '{"$tb":true}', '{"$maxAge":-1}'])
def test_metadata_that_says_nothing_hides_nothing(log: Log, text: str) -> None:
    log.append("a", events(2))
    log.append("$$a", metadata(text))
    log.flush()
    assert visible(log, "a") == [0, 1]


def test_metadata_takes_effect_for_readers_when_it_is_written(log: Log) -> None:
    log.append("a", events(3))
    log.flush()
    log.append("$$a", metadata('{"$maxCount":1}'))
    assert visible(log, "a") == [0, 1, 2]
    log.flush()
    assert visible(log, "a") == [2]


def test_a_stream_of_metadata_shows_its_last_event(log: Log) -> None:
    log.append("$$a", metadata("{}"))
    log.append("$$a", metadata("{}"))
    log.flush()
    assert visible(log, "$$a") == [1]


def test_a_deleted_stream_is_gone_until_it_is_appended_to_and_its_revisions_go_on(log: Log) -> None:
    log.append("a", events(3))
    log.delete("a", expected=2)
    log.flush()
    assert visible(log, "a") is None
    assert log.append("a", events(2), expected=NO_STREAM).revision == 4
    log.flush()
    assert visible(log, "a") == [3, 4]
    assert log.published == 3 + 1 + 2 + 1  # events, $tb = 2^63-1, events, $tb = 3: all of them are in $all
    assert log.type_of[-1] == "$metadata"


def test_a_deleted_stream_may_be_deleted_again_but_does_not_exist(log: Log) -> None:
    log.append("a", events(1))
    log.delete("a")
    log.delete("a")
    log.delete("a", expected=0)
    with pytest.raises(Tombstoned):
        log.delete("a", expected=STREAM_EXISTS)
    with pytest.raises(Tombstoned):
        log.append("a", events(1), expected=STREAM_EXISTS)


def test_metadata_for_a_deleted_stream_brings_it_back_empty(log: Log) -> None:
    log.append("a", events(2))
    log.delete("a")
    log.append("$$a", metadata('{"$maxCount":5,"own":1}'))
    log.flush()
    assert visible(log, "a") == []
    limits = log.limits("a")
    assert (limits.truncate_before, limits.max_count) == (2, 5)


@pytest.mark.parametrize(("data", "revisions"), CASES, ids=lambda value: str(value[:40]))
def test_metadata_hides_what_it_hides_on_the_server(log: Log, data: bytes, revisions: list[int]) -> None:
    log.append("a", events(5))
    log.append("$$a", [NewEvent(uuid4(), "$metadata", data)])
    log.flush()
    assert (visible(log, "a") or []) == revisions


def test_metadata_that_is_not_marked_as_json_hides_nothing(log: Log) -> None:
    log.append("a", events(5))
    log.append("$$a", [NewEvent(uuid4(), "$metadata", b'{"$maxCount":2}', is_json=False)])
    log.flush()
    assert visible(log, "a") == ALL


def test_a_log_is_loaded_with_whatever_metadata_it_took(tmp_path: Path, clock: Clock) -> None:
    log, close = open_log(tmp_path, now=clock)
    for number, (data, _) in enumerate(CASES):
        log.append(f"a-{number}", events(5))
        log.append(f"$$a-{number}", [NewEvent(uuid4(), "$metadata", data)])
    log.append("b", events(5))
    log.append("$$b", [NewEvent(uuid4(), "$metadata", b'{"$maxCount":2}', is_json=False)])
    log.flush()
    close()
    log, close = open_log(tmp_path, now=clock)
    assert [visible(log, f"a-{number}") or [] for number in range(len(CASES))] == [revisions for _, revisions in CASES]
    assert visible(log, "b") == ALL
    close()


def test_a_deleted_stream_comes_back_whatever_else_its_metadata_says(log: Log) -> None:
    log.append("a", events(2))
    log.append("$$a", metadata('{"$tb":9223372036854775807,"own":NaN} and so on'))
    log.flush()
    assert log.append("a", events(1)).revision == 2
    log.flush()
    assert visible(log, "a") == [2]


def test_an_append_that_fails_half_way_leaves_nothing(log: Log) -> None:
    log.append("a", events(2))
    log.delete("a")
    log.flush()
    before, end = everything(log), log.end
    # The second event has a type that no protocol could have brought, and fails to be written down.
    with pytest.raises(UnicodeEncodeError):
        log.append("a", [*events(1), NewEvent(uuid4(), "\ud800")])
    with pytest.raises(UnicodeEncodeError):
        log.append_transaction("b", [*events(1), NewEvent(uuid4(), "\ud800")])
    log.flush()
    assert (everything(log), log.end, log.last_revision("b"), visible(log, "a")) == (before, end, NO_STREAM, None)
    assert log.append("a", events(1)).revision == 2


def test_a_stream_that_never_was_cannot_be_deleted(log: Log) -> None:
    with pytest.raises(WrongRevision):
        log.delete("a")


def test_a_tombstoned_stream_takes_nothing_and_shows_nothing(log: Log) -> None:
    log.append("a", events(1))
    assert log.tombstone("a").revision == MAX_REVISION
    log.flush()
    for stream in ("a", "$$a"):
        with pytest.raises(Tombstoned):
            log.append(stream, events(1))
        with pytest.raises(Tombstoned):
            log.readable(stream, head=log.published)
    with pytest.raises(Tombstoned):
        log.delete("a")
    with pytest.raises(Tombstoned):
        log.tombstone("a")


def test_a_stream_that_never_was_can_be_tombstoned(log: Log) -> None:
    log.tombstone("a")
    with pytest.raises(Tombstoned):
        log.append("a", events(1), expected=NO_STREAM)


# -- finding


def test_a_position_is_found_inclusively(log: Log) -> None:
    log.append("a", events(3))
    log.flush()
    for number in range(3):
        assert log.find(*log.position(number), head=3) == number
        assert log.find(log.commits[number], log.prepares[number] + 1, head=3) == number + 1
    assert log.find(-1, -1, head=3) == 0
    assert log.find(log.end, log.end, head=3) == 3


def test_a_read_begins_at_records_only(log: Log) -> None:
    log.append("a", events(2))
    log.flush()
    assert all(log.begins(position, head=2) for position in (0, *log.commits, log.commits[-1] + 1, 2**63 - 1))
    assert not log.begins(log.commits[0] + 1, head=2)


def test_an_explicit_transaction_has_one_commit_position_and_a_prepare_position_each(log: Log) -> None:
    log.append("a", events(1))
    log.append_transaction("a", events(3))
    log.append("b", events(1))
    log.flush()
    assert len(set(log.commits[1:4])) == 1
    assert log.commits[0] < log.prepares[1] < log.prepares[2] < log.prepares[3] < log.commits[3] < log.commits[4]
    commit = log.commits[1]
    assert log.find(commit, 0, head=5) == 1
    assert log.find(commit, log.prepares[2], head=5) == 2
    assert log.find(commit, commit, head=5) == 4  # which is why nobody should resume inside of one with (C, C)
    assert log.begins(log.prepares[2], head=5)


def test_a_log_that_is_rewritten_knows_its_records_and_goes_on(log: Log) -> None:
    log.append("a", events(4))
    log.append("$$a", metadata('{"$maxCount":1}'))
    log.flush()
    end = log.end
    gone = log.commits[1]
    log.rewrite([record for record in log.all_records() if record.commit != gone], scavenged=end)
    assert visible(log, "a") == [3]
    assert log.published == 4
    assert log.begins(gone, head=4)
    assert log.append("a", events(1), expected=3).commit == end


# -- on the disk


def test_a_log_that_is_opened_again_is_the_same(tmp_path: Path) -> None:
    log, close = open_log(tmp_path)
    batch = events(3)
    log.append("a", batch)
    log.append("$$a", metadata('{"$maxCount":2}'))
    log.append_transaction("b", events(2))
    log.append("c", [NewEvent(uuid4(), "t", b"\x00\xff", b"meta", is_json=False, created=7)])
    log.tombstone("d")
    log.delete("c")
    log.flush()
    before = (everything(log), log.end, visible(log, "a"), visible(log, "c"))
    close()
    log, close = open_log(tmp_path)
    assert (everything(log), log.end, visible(log, "a"), visible(log, "c")) == before
    assert log.append("a", batch, expected=NO_STREAM).revision == 2  # idempotent, also by ids from before
    log.flush()
    assert log.published == len(before[0])
    with pytest.raises(Tombstoned):
        log.append("d", events(1))
    close()


def test_the_end_of_a_log_is_remembered_though_its_last_records_are_gone(tmp_path: Path) -> None:
    log, close = open_log(tmp_path)
    log.append("a", events(3))
    log.flush()
    end = log.end
    log.rewrite(list(log.all_records())[:1], scavenged=end)
    close()
    log, close = open_log(tmp_path)
    assert log.end == end
    assert log.begins(end - 5, head=1)
    close()


def test_a_log_that_ends_in_an_explicit_transaction_goes_on_behind_it(tmp_path: Path) -> None:
    log, close = open_log(tmp_path)
    log.append_transaction("a", events(2))
    log.flush()
    end = log.end
    close()
    log, close = open_log(tmp_path)
    assert log.end == end
    close()


def test_after_a_restart_ids_are_known_for_no_stream_and_exact_revisions_only(tmp_path: Path) -> None:
    log, close = open_log(tmp_path)
    batch = events(3)
    log.append("a", batch)
    log.flush()
    close()
    log, close = open_log(tmp_path)
    assert log.append("a", batch, expected=NO_STREAM).revision == log.append("a", batch[1:], expected=0).revision == 2
    assert log.append("a", batch).revision == 5
    close()


def test_ids_outlive_a_scavenge_and_no_restored_backup(log: Log) -> None:
    batch = events(2)
    log.append("a", batch)
    log.flush()
    log.rewrite(list(log.all_records()))
    assert log.append("a", batch).revision == 1
    log.restart()
    assert log.append("a", batch).revision == 3


def test_an_append_of_nothing_takes_a_place_that_no_reader_sees(log: Log) -> None:
    first = log.append("a", events(1))
    nothing = log.append("a", [])
    second = log.append("a", events(1))
    log.flush()
    assert first.commit < nothing.commit < second.commit
    assert (nothing.revision, log.published) == (0, 2)
    assert log.begins(nothing.commit, head=2)
    assert log.behind(0) == nothing.commit
    assert log.behind(1) == log.end


def test_an_append_of_nothing_brings_a_deleted_stream_back_without_its_events(log: Log) -> None:
    log.append("a", events(3))
    log.delete("a")
    log.append("a", [])
    log.flush()
    assert visible(log, "a") == []
    with pytest.raises(WrongRevision):
        log.append("a", [], expected=NO_STREAM)
    assert log.append("a", events(1), expected=2).revision == 3


def test_a_retry_of_what_is_hidden_is_answered_without_a_position(log: Log) -> None:
    batch = events(2)
    log.append("a", batch)
    log.delete("a")
    for expected in (NO_STREAM, ANY):
        again = log.append("a", batch, expected=expected)
        assert (again.revision, again.commit) == (1, -1)


def test_the_metadata_of_a_tombstoned_stream_goes_on_if_there_was_any(log: Log) -> None:
    log.append("$$a", metadata("{}"))
    log.append("a", events(1))
    log.tombstone("a")
    assert log.append("$$a", metadata("{}")).revision == 1
    log.tombstone("b")
    with pytest.raises(Tombstoned):
        log.append("$$b", metadata("{}"))


def test_the_first_place_of_an_id_counts(log: Log) -> None:
    batch = events(1)
    log.append("a", batch, expected=NO_STREAM)
    log.append("a", batch, expected=0)
    log.append("b", batch)
    assert log.append("a", batch).revision == 0
    assert log.append("b", batch).revision == 1


def test_ids_are_compared_and_not_their_texts(log: Log) -> None:
    event_id = UUID("ABCDEF00-0000-4000-8000-000000000000")
    log.append("a", [NewEvent(event_id, "t")], expected=NO_STREAM)
    assert log.append("a", [NewEvent(UUID(str(event_id)), "t")], expected=NO_STREAM).revision == 0
