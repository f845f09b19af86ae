"""Links of users: what they lead to, as the server shows it, and what never counts them."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import uuid4

import grpc
import polars as pl
import pytest
from esdbclient.protos.Grpc import shared_pb2, streams_pb2, streams_pb2_grpc
from hypothesis import given, settings
from hypothesis import strategies as st

import workbench as wb
from tests.lake.histories import checkpoint_at, lake_of, open_writer, row, table
from tests.laws import at_least
from tests.recorded import recorded, replay
from tests.stores import NewEvent, Store
from workbench.errors import UsageError
from workbench.events import Selection
from workbench.export import export_log
from workbench.lake import Lake, open_lake
from workbench.server_streams import is_server_stream
from workbench.timeline import Timeline

Shown = tuple[int, str, int, str, str, int, bytes, bytes]


def shown_by_the_server(store: Store) -> list[Shown]:
    """What a read of ``$all`` with ``resolve_links`` shows of users' streams."""
    options = streams_pb2.ReadReq.Options
    request = streams_pb2.ReadReq(
        options=options(
            all=options.AllOptions(start=shared_pb2.Empty()),
            count=2**62,
            resolve_links=True,
            no_filter=shared_pb2.Empty(),
            uuid_option=options.UUIDOption(string=shared_pb2.Empty()),
        )
    )
    with grpc.insecure_channel(store.address) as channel:
        answers = [answer.event for answer in streams_pb2_grpc.StreamsStub(channel).Read(request, timeout=60) if answer.HasField("event")]
    found = []
    for answer in answers:
        if not answer.HasField("event"):
            continue  # the target is gone
        event = answer.event
        place = answer.link if answer.HasField("link") else event
        stream = place.stream_identifier.stream_name.decode()
        plain = answer.HasField("link") or not event.metadata["type"].startswith("$") or event.metadata["type"] == "$>"
        if plain and not stream.startswith("$$") and not is_server_stream(stream):
            told = event.id.string, event.metadata["type"], int(event.metadata["created"]), event.data, event.custom_metadata
            found.append((place.commit_position, stream, place.stream_revision, *told))
    return found


def shown_by(timeline: Timeline) -> list[Shown]:
    return [
        (
            event["position"],
            event["stream"],
            event["revision"],
            event["event_id"],
            event["type"],
            event["recorded_ticks"],
            event["data"].encode() if event["data_bytes"] is None else event["data_bytes"],
            event["metadata"].encode() if event["metadata_bytes"] is None else event["metadata_bytes"],
        )
        for event in timeline.events().collect().iter_rows(named=True)
    ]


def exported(store: Store, path: Path, **selection: Any) -> Lake:
    export_log(store.uri, path, selection=Selection(**selection))
    return open_lake(path)


def append(store: Store, stream: str, *datas: bytes, type_: str = "happened") -> None:
    store.append(stream, [NewEvent(id=uuid4(), type=type_, data=data, is_json=type_ != "$>") for data in datas])


@pytest.mark.parametrize("system", [False, True])
def test_links_show_what_a_read_of_the_server_that_resolves_links_shows(store: Store, tmp_path: Path, system: bool) -> None:
    replay(store, recorded("with-projections"))
    timeline = exported(store, tmp_path / "lake", system=system).timeline
    followed = timeline.links()
    expected = shown_by_the_server(store)
    assert shown_by(followed) == expected
    assert [place[1:3] for place in expected if place[1] == "links-1"] == [("links-1", 0), ("links-1", 3), ("links-1", 4)]
    assert (followed.count(), followed.unresolved_links) == (len(expected), 2)
    assert sorted(followed.sql("SELECT position FROM events").fetchall()) == [(place[0],) for place in expected]
    assert timeline.unresolved_links == 0
    # The links of the system projections stay as they are, and no link of a user's is there beside its event.
    whole = timeline.with_system().links().events().collect()
    assert whole.filter(pl.col("stream") == "links-1")["type"].to_list() == ["OrderPlaced"] * 3
    assert whole.filter(pl.col("type") == "$>").height == (0 if not system else timeline.with_system().types("$>").count() - 5)


def test_odd_links_mean_what_they_mean_to_the_server(tmp_path: Path) -> None:
    # Recorded from EventStoreDB 23.10.8: golden section "links".
    targets = [row(10 * number, "a", revision=number - 1, type="T", data=f'{{"n":{number - 1}}}') for number in range(1, 7)]
    names = ["2@a", "0@nothing", "99@a", "junk", "0@ln", "-1@a", "x@a", "1@a@b", "@a", "1@", "", " 1@a", "01@a"]
    links = [row(100 + number, "ln", revision=number, type="$>", data=name.encode()) for number, name in enumerate(names)]
    followed = lake_of(tmp_path, [*targets, *links]).timeline.links().streams("ln")
    found = followed.events().collect().select("revision", "type", "data", "data_bytes").rows()
    assert found == [
        (0, "T", '{"n":2}', None),
        (3, "$>", None, b"junk"),
        (4, "$>", None, b"2@a"),
        (5, "T", '{"n":5}', None),
        (6, "$>", None, b"x@a"),
        (8, "$>", None, b"@a"),
        (10, "$>", None, b""),
        (11, "T", '{"n":1}', None),
        (12, "T", '{"n":1}', None),
    ]
    assert followed.unresolved_links == 4


def test_a_link_has_its_own_place_and_its_targets_id_times_and_payload(tmp_path: Path) -> None:
    target = row(10, "order-1", revision=3, type="paid", data='{"n": 1}', metadata='{"$correlationId": "c"}')
    link = row(20, "paid-orders", revision=7, type="$>", data=b"3@order-1", metadata='{"$correlationId": "other"}')
    [_, found] = lake_of(tmp_path, [target, link]).timeline.links().events().collect().to_dicts()
    placed = ("position", "prepare_position", "stream", "category", "revision")
    assert found == {**target, **{name: link[name] for name in placed}}


def test_links_go_with_cutoffs_selections_and_what_is_hidden(tmp_path: Path) -> None:
    rows = [
        row(10, "order-1", type="placed"),
        row(20, "order-2", type="paid"),
        row(30, "by-date", revision=0, type="$>", data=b"0@order-1"),
        row(40, "by-date", revision=1, type="$>", data=b"0@order-2"),
        row(50, "by-date", revision=2, type="$>", data=b"1@order-2"),
        row(60, "order-2", revision=1, type="paid"),
        row(70, "$$by-date", type="$metadata", data='{"$tb": 1}'),
    ]
    links = lake_of(tmp_path, rows, batch=2).timeline.links()

    def places(timeline: Timeline) -> list[int]:
        found = timeline.events().collect()["position"].to_list()
        assert sorted(position for (position,) in timeline.sql("SELECT position FROM events").fetchall()) == found
        assert timeline.count() == len(found)
        return found

    assert places(links) == [10, 20, 30, 40, 50, 60]
    assert places(links.upto(position=50)) == [10, 20, 30, 40]  # the last one's target came later
    assert links.upto(position=50).unresolved_links == 1
    assert places(links.after(position=30)) == [40, 50, 60]
    assert places(links.types("paid")) == [20, 40, 50, 60]
    assert places(links.categories("by")) == places(links.streams("by-*")) == [30, 40, 50]
    assert places(links.visible()) == [10, 20, 40, 50, 60]
    assert places(links.with_system()) == [10, 20, 30, 40, 50, 60, 70]


CONTENT = st.sampled_from(["a-1", "b-1", "l-1", "m-1"])


@settings(max_examples=at_least(100))
@given(
    written=st.lists(st.tuples(CONTENT, st.one_of(st.none(), st.tuples(st.integers(0, 4), CONTENT))), max_size=25),
    batch=st.integers(1, 9),
)
def test_every_link_stands_for_the_event_of_its_stream_and_revision(
    written: list[tuple[str, tuple[int, str] | None]], batch: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    rows: list[dict[str, Any]] = []
    for number, (stream, link) in enumerate(written):
        revision = sum(one["stream"] == stream for one in rows)
        data: str | bytes = f'{{"n":{number}}}' if link is None else f"{link[0]}@{link[1]}".encode()
        rows.append(row(10 * number + 10, stream, revision=revision, type="happened" if link is None else "$>", data=data))
    placed = {(one["stream"], one["revision"]): one for one in rows}
    expected, lacking = [], 0
    for one, (_, link) in zip(rows, written, strict=True):
        target = one if link is None else placed.get((link[1], link[0]))
        lacking += target is None
        if target is not None:
            expected.append((one["position"], one["stream"], one["revision"], target["event_id"], target["type"]))
    timeline = lake_of(tmp_path_factory.mktemp("lake"), rows, batch=batch).timeline.links()
    assert timeline.events().select("position", "stream", "revision", "event_id", "type").collect().rows() == expected
    assert timeline.unresolved_links == lacking


def test_what_folds_refuses_links(tmp_path: Path) -> None:
    timeline = lake_of(tmp_path, [row(10, "order-1", data='{"a": 1}')]).timeline.links()
    for question in (wb.state, wb.history, wb.rebuild):
        with pytest.raises(UsageError, match=r"remove links\(\)"):
            question("order", timeline)
    with pytest.raises(UsageError, match=r"remove links\(\)"):
        wb.series("order", timeline, every="1d", size=pl.len())
    with pytest.raises(UsageError, match=r"remove links\(\)"):
        wb.diff("order", timeline, timeline.upto(position=10))


def test_a_what_if_has_no_links(tmp_path: Path) -> None:
    timeline = lake_of(tmp_path, [row(10, "order-1")]).timeline
    with pytest.raises(UsageError, match="what-if has no links"):
        timeline.drop(stream="order-1").links()
    with pytest.raises(UsageError, match="what-if has no links"):
        timeline.links().drop(stream="order-1")


def test_a_lake_of_some_types_cannot_say_where_links_lead(tmp_path: Path, store: Store) -> None:
    append(store, "order-1", b"{}")
    append(store, "links", b"0@order-1", type_="$>")
    timeline = exported(store, tmp_path / "lake", types=("happened", "$>")).timeline
    with pytest.raises(UsageError, match=r"links\(\) cannot say"):
        timeline.links().count()


TRACED = [
    row(30, "order-1", revision=0, type="started", metadata='{"userId": "ann"}', data='{"by": "ann"}'),
    row(60, "order-1", revision=1, type="ended", metadata='{"userId": "ann"}', data='{"by": "ann"}'),
    row(90, "$ce-order", revision=0, type="$>", data=b"0@order-1", metadata='{"userId": "ann"}'),
    row(120, "$ce-order", revision=1, type="$>", data=b"1@order-1", metadata='{"userId": "ann"}'),
    row(150, "mine", revision=0, type="$>", data=b"0@order-1", metadata='{"userId": "ann"}'),
    row(180, "$category-order", revision=0, type="$@", data=b"order-1", metadata='{"userId": "ann"}'),
]


@pytest.mark.parametrize(
    "looked_at", [lambda now: now, lambda now: now.with_system(), lambda now: now.links(), lambda now: now.links().with_system()]
)
def test_traces_workflows_and_activity_never_count_links(tmp_path: Path, looked_at: Any) -> None:
    events = [{**one, "correlation_id": "c"} for one in TRACED]
    timeline: Timeline = looked_at(lake_of(tmp_path, events).timeline)
    assert wb.trace(timeline, "c").events["type"].to_list() == ["started", "ended"]
    followed = wb.workflows(wb.Workflow(start="started", done="ended", stuck_after="1h"), timeline)
    assert followed.traces["events"].to_list() == [2]
    assert followed.steps["type"].to_list() == ["started", "ended"]
    assert wb.activity(timeline, actor=wb.event.metadata["userId"]).summary["actions"].to_list() == [2]


def test_a_distribution_names_what_holds_only_links(tmp_path: Path) -> None:
    rows = [*TRACED, row(210, "order-2", type="$>", data=b"0@order-1"), row(240, "order-2", revision=1, type="started")]
    now = lake_of(tmp_path, rows).timeline
    assert wb.distribution(now, by="stream").select("stream", "count", "share", "links").rows() == [
        ("order-1", 2, 2 / 3, 0),
        ("order-2", 1, 1 / 3, 1),
        ("mine", 0, 0.0, 1),
    ]
    assert wb.distribution(now).select("type", "count", "links").rows() == [("started", 2, 0), ("ended", 1, 0), ("$>", 0, 2)]
    assert wb.distribution(now.links(), by="stream").select("stream", "count", "links").rows() == [
        ("order-1", 2, 0),
        ("order-2", 2, 0),
        ("mine", 1, 0),
    ]
    assert wb.distribution(now.streams("order-1"), by="stream").height == 1
    only = lake_of(tmp_path / "only", [row(10, "mine", type="$>", data=b"0@order-1")]).timeline
    assert wb.distribution(only, by="stream").select("stream", "count", "share", "links").rows() == [("mine", 0, None, 1)]


def test_what_is_published_with_links_is_written_anew_since_a_link_may_lead_somewhere_later(tmp_path: Path) -> None:
    rows = [
        row(10, "order-1", type="placed", data='{"n": 1}'),
        row(20, "mine", revision=0, type="$>", data=b"0@order-1"),
        row(30, "mine", revision=1, type="$>", data=b"1@order-1"),
    ]
    lake_of(tmp_path / "lake", rows)
    for more, expected in (([], [10, 20]), ([row(40, "order-1", revision=1, type="placed", data='{"n": 2}')], [10, 20, 30, 40])):
        with open_writer(tmp_path / "lake") as writer:
            if more:
                writer.append(table(more), checkpoint_at(more[-1]))
        wb.publish(open_lake(tmp_path / "lake").timeline.links(), tmp_path / "out")
        [file] = (tmp_path / "out").rglob("*.parquet")
        assert sorted(pl.read_parquet(file)["position"].to_list()) == expected
