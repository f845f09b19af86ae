"""OCEL 2.0: what is written is what the history holds, and pm4py reads it."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import workbench as wb
from tests.analysis.traced import BEGIN, Traced, id_of, timeline_in
from tests.sample.lake import write_sample
from workbench.analysis.ocel import export_ocel
from workbench.errors import UsageError
from workbench.sample import generate
from workbench.timeline import Timeline

READ = """
import json, sys, warnings
warnings.simplefilter("ignore")
import pm4py
log = pm4py.read_ocel2(sys.argv[1])
print(json.dumps({
    "events": sorted(log.events["ocel:eid"]), "in order": list(log.events["ocel:eid"]),
    "types": {name: int(count) for name, count in log.events["ocel:activity"].value_counts().items()},
    "objects": {name: int(count) for name, count in log.objects["ocel:type"].value_counts().items()},
    "relations": len(log.relations), "o2o": len(log.o2o),
    "first": str(log.events["ocel:timestamp"].min()), "last": str(log.events["ocel:timestamp"].max()),
    "emails": int(log.events["email"].notna().sum()) if "email" in log.events else 0,
}))
"""


def read_by_pm4py(file: Path) -> dict[str, Any]:
    """pm4py warns, and takes seconds to load: it reads in a process of its own."""
    done = subprocess.run([sys.executable, "-c", READ, str(file)], check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Timeline:
    return wb.open(write_sample(tmp_path_factory.mktemp("ocel") / "lake", list(generate(events=1_500, seed=3).events()))).timeline


@pytest.mark.parametrize(("suffix", "forked"), [(".sqlite", False), (".json", True)])
def test_pm4py_finds_what_the_history_holds(sample: Timeline, tmp_path: Path, suffix: str, forked: bool) -> None:
    timeline = sample.drop(type="chat.message_sent").retime(type="user.moved", by="1h") if forked else sample
    written = export_ocel(timeline, tmp_path / f"log{suffix}")
    found = read_by_pm4py(written.path)
    [(events, streams, correlations, correlated, pairs, emails)] = timeline.sql(
        """
        SELECT count(*), count(DISTINCT stream), count(DISTINCT correlation_id), count(correlation_id),
            count(DISTINCT (correlation_id, stream)) FILTER (correlation_id IS NOT NULL), count(data ->> '$.email')
        FROM events
        """
    ).fetchall()
    assert len(set(found["events"])) == events == written.events
    assert found["types"] == dict(timeline.sql("SELECT type, count(*) FROM events GROUP BY 1").fetchall())
    categories = dict(timeline.sql("SELECT category, count(DISTINCT stream) FROM events GROUP BY 1").fetchall())
    assert found["objects"] == categories | {"correlation": correlations}
    assert written.objects == streams + correlations
    assert found["relations"] == written.relations == events + correlated
    assert found["o2o"] == written.object_relations == pairs
    assert found["emails"] == emails > 0
    assert written.left_out == {}


ODD = [
    Traced(
        "Order placed", "c", 0, data='{"Amount": 1.5, "amount": 7, "stream": "mine", "open": true, "ocel_time": "now", "deep": {"a": 1}}'
    ),
    Traced("Order placed", "c", 1.25, data='{"amount": 12345678901234567890, "open": "yes", "": null}', stream="order-2"),
    Traced("order-placed", None, 2, data="[1]", stream='quote"-1'),
    Traced("Ärger", "order-1", 3, data=None, stream="correlation-1"),
]


def test_names_that_clash_are_told_apart_and_kinds_that_differ_become_text(tmp_path: Path) -> None:
    written = export_ocel(timeline_in(tmp_path / "lake", ODD), tmp_path / "log.sqlite")
    with closing(sqlite3.connect(written.path)) as log:
        tables = dict(log.execute("SELECT ocel_type, ocel_type_map FROM event_map_type").fetchall())
        assert {name.lower() for name in tables.values()} == {"orderplaced", "orderplaced2", "ärger"}
        cursor = log.execute(f'SELECT * FROM "event_{tables["Order placed"]}"')
        assert [column[0] for column in cursor.description] == [
            "ocel_id", "ocel_time", "event_id", "stream", "revision", "Amount", "amount_2", "ocel_time_2", "open", "stream_2",
        ]  # fmt: skip
        assert cursor.fetchall() == [
            ("10", "2026-03-01T09:00:00.000000Z", id_of(1), "order-1", 0, 1.5, 7.0, "now", "true", "mine"),
            ("20", "2026-03-01T09:00:01.250000Z", id_of(2), "order-2", 0, None, 12345678901234567890.0, None, "yes", None),
        ]
        objects = log.execute("SELECT ocel_id, ocel_type FROM object ORDER BY 1").fetchall()
        assert objects == [
            ("correlation-1", "correlation"),
            ("correlation:c", "$correlation"),
            ("correlation:order-1", "$correlation"),
            ("order-1", "order"),
            ("order-2", "order"),
            ('quote"-1', 'quote"'),
        ]
        assert log.execute("SELECT * FROM object_object ORDER BY 1, 2").fetchall() == [
            ("correlation:c", "order-1", "touches"),
            ("correlation:c", "order-2", "touches"),
            ("correlation:order-1", "correlation-1", "touches"),
        ]
        assert log.execute("PRAGMA foreign_key_check").fetchall() == []
    assert read_by_pm4py(written.path)["events"] == ["10", "20", "30", "40"]


def test_both_files_say_the_same(sample: Timeline, tmp_path: Path) -> None:
    relational, document = (export_ocel(sample, tmp_path / f"log{suffix}") for suffix in (".sqlite", ".json"))
    log = json.loads(document.path.read_bytes())
    with closing(sqlite3.connect(relational.path)) as tables:
        assert {(one["id"], one["type"]) for one in log["events"]} == set(tables.execute("SELECT * FROM event"))
        assert {(one["id"], one["type"]) for one in log["objects"]} == set(tables.execute("SELECT * FROM object"))
        related = {(one["id"], to["objectId"], to["qualifier"]) for one in log["events"] for to in one["relationships"]}
        assert related == set(tables.execute("SELECT * FROM event_object"))
        created = {one["id"]: {said["name"]: said["value"] for said in one["attributes"]} for one in log["events"]}
        for row in tables.execute("SELECT ocel_id, email, stream FROM event_usercreated WHERE email IS NOT NULL"):
            assert (created[row[0]]["email"], created[row[0]]["stream"]) == row[1:]
    kinds = {one["name"]: {said["name"]: said["type"] for said in one["attributes"]} for one in log["eventTypes"]}
    assert kinds["user.created"]["email"] == "string"
    assert kinds["user.created"]["revision"] == "integer"


def _both(timeline: Timeline, folder: Path) -> tuple[sqlite3.Connection, dict[str, Any]]:
    relational, document = (export_ocel(timeline, folder / f"log{suffix}") for suffix in (".sqlite", ".json"))
    return sqlite3.connect(relational.path), json.loads(document.path.read_bytes())


def test_streams_and_categories_named_like_correlations_events_or_objects_stay_apart(tmp_path: Path) -> None:
    events = [
        Traced("object", "abc", stream="correlation:abc"),
        Traced("event", "abc", stream="correlation 2:x"),
        Traced("OBJECT", "abc", stream="object-1"),
        Traced("map_type", "abc", stream="event-1"),
        Traced("a", "abc", stream="correlation-1"),
        Traced("a", "abc", stream="$correlation-1"),
    ]
    tables, document = _both(timeline_in(tmp_path / "lake", events), tmp_path)
    with closing(tables):
        objects = tables.execute("SELECT ocel_id, ocel_type FROM object").fetchall()
        assert sorted(objects) == sorted((one["id"], one["type"]) for one in document["objects"])
        assert dict(objects) == {
            "correlation:abc": "correlation:abc",
            "correlation 2:x": "correlation 2:x",
            "object-1": "object",
            "event-1": "event",
            "correlation-1": "correlation",
            "$correlation-1": "$correlation",
            "correlation 3:abc": "$$correlation",
        }
        assert tables.execute("SELECT count(*) FROM event_object WHERE ocel_object_id = 'correlation 3:abc'").fetchall() == [(6,)]
        assert tables.execute("PRAGMA foreign_key_check").fetchall() == []
    for file in ("log.sqlite", "log.json"):
        assert read_by_pm4py(tmp_path / file)["objects"]["$$correlation"] == 1


def test_a_member_that_no_number_or_file_can_hold_hurts_no_other(tmp_path: Path) -> None:
    """Of equal keys the first counts, as everywhere."""
    long = "9" * 400
    events = [
        Traced(
            "paid",
            data='{"huge": 1e400, "long": ' + long + ', "half": "a\\ud800b", "plain": 1, "plain": 2, "mixed": 0.1234567890123456789}',
        ),
        Traced("paid", data='{"huge": 1.5, "long": 12345678901234567890, "half": "x", "plain": 3, "mixed": "text"}', stream="order-2"),
    ]
    tables, document = _both(timeline_in(tmp_path / "lake", events), tmp_path)
    expected = [("1e400", long, "a?b", 1, "0.1234567890123456789"), ("1.5", "12345678901234567890", "x", 3, "text")]
    with closing(tables):
        assert tables.execute("SELECT huge, long, half, plain, mixed FROM event_paid").fetchall() == expected
    said = [{one["name"]: one["value"] for one in event["attributes"]} for event in document["events"]]
    assert [tuple(one[name] for name in ("huge", "long", "half", "plain", "mixed")) for one in said] == expected


def test_events_at_one_time_keep_the_order_of_the_log_in_both_files(tmp_path: Path) -> None:
    order = "zbbzaazzbcz"
    seconds = [0, 0, 0, 0, 0, 0.000001, 1, 1, 0.5, 0.5, 1.25]
    timeline = timeline_in(tmp_path / "lake", [Traced(kind, seconds=at) for kind, at in zip(order, seconds, strict=True)])
    tables, document = _both(timeline, tmp_path)
    tables.close()
    times = [one["time"] for one in document["events"]]
    assert times[:2] == ["2026-03-01T09:00:00.000000Z", "2026-03-01T09:00:00.000000001Z"]
    assert times[5:] == [
        f"2026-03-01T09:00:0{time}Z" for time in ("0.000001", "1.000000", "1.000000001", "0.500000", "0.500000001", "1.250000")
    ]
    found = [read_by_pm4py(tmp_path / file)["in order"] for file in ("log.sqlite", "log.json")]
    assert found[0] == found[1]
    assert found[0][:6] == ["10", "20", "30", "40", "50", "60"]


def test_of_too_many_members_the_most_frequent_stay_and_the_rest_is_said(tmp_path: Path) -> None:
    many = {f"field {number}": number for number in range(150)}
    events = [Traced("wide", data=json.dumps(many)), Traced("wide", data='{"field 149": 1}', stream="order-2")]
    written = export_ocel(timeline_in(tmp_path / "lake", events), tmp_path / "log.sqlite")
    assert written.left_out == {"wide": 50}
    with closing(sqlite3.connect(written.path)) as log:
        assert log.execute('SELECT "field 149" FROM event_wide').fetchall() == [(149,), (1,)]
    assert export_ocel(timeline_in(tmp_path / "other", events), tmp_path / "log.sqlite", payloads=False).left_out == {}


def test_an_empty_history_is_a_log_without_events(tmp_path: Path) -> None:
    nothing = timeline_in(tmp_path / "lake", [])
    assert export_ocel(nothing, tmp_path / "log.json").events == 0
    assert json.loads((tmp_path / "log.json").read_bytes()) == {"objectTypes": [], "eventTypes": [], "objects": [], "events": []}
    assert export_ocel(nothing, tmp_path / "log.sqlite").objects == 0


def test_nothing_is_left_behind_where_it_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = timeline_in(tmp_path / "lake", [Traced("placed", seconds=BEGIN.second)])
    with pytest.raises(UsageError, match=r"log\.xes has an unknown suffix: .* \.sqlite or \.json"):
        export_ocel(now, tmp_path / "log.xes")
    with pytest.raises(UsageError, match="there is no such directory"):
        export_ocel(now, tmp_path / "none" / "log.json")
    (tmp_path / "log.json").write_text("as it was")

    def fail(*_: object) -> Any:
        raise RuntimeError

    monkeypatch.setattr("workbench.analysis.ocel._events", fail)
    with pytest.raises(RuntimeError):
        export_ocel(now, tmp_path / "log.json")
    assert sorted(one.name for one in tmp_path.iterdir()) == ["lake", "log.json"]
    assert (tmp_path / "log.json").read_text() == "as it was"
