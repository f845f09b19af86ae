"""Which streams servers write for themselves is one list, and every engine reads it alike."""

from __future__ import annotations

import re

import duckdb
import polars as pl
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from tests.lake.histories import row
from workbench.events import EVENT_SCHEMA, Selection
from workbench.export.selecting import chosen, in_server_stream
from workbench.kurrent.filter import ReadFilter
from workbench.lake.reading.user_events import SERVER_STREAM_SQL, USER_EVENT_SQL, USER_STREAM_SQL, server_stream, user_event, user_stream
from workbench.protocol import streams_pb2
from workbench.server_streams import NAMES, PREFIXES, Column, is_server_stream, is_user_event, linked_category, only_others

users = ReadFilter.of(Selection())
assert users is not None
USERS = users

LISTED = [
    "$ce-",
    "$et-",
    "$bc-",
    "$category-",
    "$stream_",
    "$projections-",
    "$persistentsubscription-",
    "$stats-",
    "$user-",
    "$mem-",
    "$auto-scavenge",
    "$connectors",
    "$registry",
    "$authorization-",
    "$idx-",
]
WHOLE = ["$et", "$streams", "$settings", "$users", "$scavenges", "$persistentSubscriptionConfig", "$all", "$policies", "$all-indexes"]

TAILS = ["", "x", "order-1", "\n", "\0", "-", "$x", "é", "\U0001f98a"]
names = st.one_of(
    st.builds(
        lambda doubled, first, tail: doubled + first + tail,
        st.sampled_from(["", "$$", "$", "$$$"]),
        st.sampled_from([*LISTED, *WHOLE, "$svc-catch-all", "order-1", "ce-", "$CE-", ""]),
        st.sampled_from(TAILS),
    ),
    st.text("$cetbuser-_s\n", max_size=9),
    st.text(max_size=6),
).filter(bool)


def as_listed(name: str) -> bool:
    """The rule, as the issue has it."""
    owner = name.removeprefix("$$") if name.startswith("$$$") else name
    return owner.startswith(tuple(LISTED)) or owner in WHOLE


def passes_the_server(read_filter: ReadFilter, name: str) -> bool:
    """Whether the embedded store's filter lets a stream through."""
    options = streams_pb2.ReadReq.Options()
    read_filter.write_into(options)
    return re.search(options.filter.stream_identifier.regex, name) is not None


def test_the_list_is_that_of_the_known_servers() -> None:
    assert sorted(PREFIXES) == sorted(LISTED)
    assert sorted(NAMES) == sorted(WHOLE)


@given(st.lists(names, min_size=1, max_size=30), st.sampled_from(["order.paid", "$>", "$metadata"]))
def test_every_form_of_the_list_means_the_same(streams: list[str], type_: str) -> None:
    expected = [as_listed(name) for name in streams]
    own = [not server and not name.startswith("$$") for name, server in zip(streams, expected, strict=True)]
    events = [one and not type_.startswith("$") for one in own]
    assert [is_server_stream(name) for name in streams] == expected
    assert [is_user_event(name, type_) for name in streams] == events
    assert in_server_stream(pa.array(streams)).to_pylist() == expected
    assert [not passes_the_server(USERS, name) for name in streams] == expected
    frame = pl.DataFrame({"stream": streams}).with_columns(type=pl.lit(type_))
    told = frame.select(server=server_stream(), own=user_stream(), event=user_event())
    assert told.to_dict(as_series=False) == {"server": expected, "own": own, "event": events}
    query = f"SELECT {SERVER_STREAM_SQL}, {USER_STREAM_SQL}, {USER_EVENT_SQL} FROM streams"
    with duckdb.connect() as connection:
        connection.register("streams", frame.to_arrow())
        assert connection.sql(query).fetchall() == list(zip(expected, own, events, strict=True))


def chosen_from(selection: Selection, name: str) -> bool:
    """Whether an export of a selection keeps an event of a stream."""
    events = pa.RecordBatch.from_pylist([row(1, name)], schema=EVENT_SCHEMA)
    return bool(chosen(events, selection).num_rows)


selections = st.builds(
    Selection,
    streams=st.lists(st.sampled_from(["order-*", "*", "$svc-*", "a+b.c", "*\n", "$$order-1", "$ce-*"]) | names, max_size=3).map(tuple),
    categories=st.lists(st.sampled_from(["order", "$svc", "$ce", "a+b.c", "$$order"]) | names, max_size=3).map(tuple),
    system=st.booleans(),
)
STREAMS = ["order-1", "$$order-1", "order", "$svc-catch-all", "$$$svc-catch-all", "$ce-order", "a+b.c", "a+b.c-1", "aab.c", "x\n", "$$x\n"]


@given(selections, st.sampled_from(STREAMS) | names)
def test_the_filter_at_the_server_never_leaves_out_what_the_selection_keeps(selection: Selection, name: str) -> None:
    asked = ReadFilter.of(selection)
    if asked is None:
        assert selection.system
        assert not selection.streams
        assert not selection.categories
    elif chosen_from(selection, name):
        assert passes_the_server(asked, name)


def test_a_filter_leaves_out_other_categories_and_streams_at_the_server() -> None:
    for selection in (Selection(categories=("order",)), Selection(streams=("order-*", "order"))):
        asked = ReadFilter.of(selection)
        assert asked is not None
        passed = [name for name in STREAMS if passes_the_server(asked, name)]
        assert passed == ["order-1", "$$order-1", "order"]


def test_a_filter_stays_small_whatever_is_selected() -> None:
    asked = ReadFilter.of(Selection(streams=tuple(f"order-{number}" for number in range(10_000))))
    assert asked == USERS


def test_what_can_fit_nothing_that_a_user_recorded_is_told() -> None:
    others: list[tuple[str, Column]] = [
        ("$ce-*", "stream"),
        ("$ce-order", "stream"),
        ("$$order-1", "stream"),
        ("$ce", "category"),
        ("$user", "category"),
        ("$>", "type"),
    ]
    own: list[tuple[str, Column]] = [
        ("$svc-*", "stream"),
        ("$*", "stream"),
        ("*", "stream"),
        ("order", "category"),
        ("$svc", "category"),
        ("order.paid", "type"),
    ]
    assert [only_others(pattern, column=column) for pattern, column in others] == [True] * len(others)
    assert [only_others(pattern, column=column) for pattern, column in own] == [False] * len(own)


def test_a_stream_of_links_tells_its_category() -> None:
    assert [linked_category(name) for name in ("$ce-order", "$category-order-eu", "$ce-", "$et-order", "order")] == [
        "order",
        "order-eu",
        None,
        None,
        None,
    ]


def test_a_filter_asks_for_the_window_that_is_fastest_and_never_for_none() -> None:
    options = streams_pb2.ReadReq.Options()
    USERS.write_into(options)
    assert options.WhichOneof("filter_option") == "filter"
    assert (options.filter.WhichOneof("window"), options.filter.max) == ("max", 10_000)
