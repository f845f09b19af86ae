"""What a lake holds of the streams that the server writes for itself."""

from __future__ import annotations

import json
from pathlib import Path
from uuid import uuid4

import pytest
from typer.testing import CliRunner

from tests.oracle import lake_rows, log_of
from tests.recorded import recorded, replay
from tests.stores import NewEvent, Store
from workbench.cli.app import app
from workbench.errors import UsageError
from workbench.events import Selection
from workbench.export import export_log
from workbench.lake import open_lake


def test_a_new_lake_leaves_out_what_the_server_writes_for_itself(store: Store, tmp_path: Path) -> None:
    replay(store, recorded("with-projections"))
    export_log(store.uri, tmp_path / "lake")
    rows = lake_rows(tmp_path / "lake")
    assert rows == log_of(store)
    assert {row[2].split("-")[0] for row in rows} == {"order", "payment", "links", "$$order"}
    info = open_lake(tmp_path / "lake").info()
    assert (info.events, info.user_events, info.user_links, info.system_events) == (128, 120, 5, 0)
    assert (info.streams, info.categories, info.types) == (80, 2, 3)
    assert (info.link_streams, info.link_stream_names) == (1, ("links-1",))


def test_info_prints_names_of_streams_without_their_control_characters(store: Store, tmp_path: Path) -> None:
    store.append("links-\x1b[31m\n[/b]", [NewEvent(id=uuid4(), type="$>", data=b"0@order-1")])
    export_log(store.uri, tmp_path / "lake")
    said = CliRunner().invoke(app, ["info", "--lake", str(tmp_path / "lake")]).stdout
    assert r"links-\x1b[31m\n[/b]" in said
    assert "1 link in users' streams" in said


def test_system_takes_the_whole_log_and_counts_it_apart(store: Store, tmp_path: Path) -> None:
    replay(store, recorded("with-projections"))
    export_log(store.uri, tmp_path / "lake", selection=Selection(system=True))
    assert lake_rows(tmp_path / "lake") == log_of(store, system=True)
    lake = open_lake(tmp_path / "lake")
    info = lake.info()
    assert (info.events - info.system_events, info.user_events, info.user_links) == (128, 120, 5)
    assert (info.streams, info.categories, info.types) == (80, 2, 3)
    assert lake.timeline.count() == 120
    assert lake.timeline.with_system().count() == info.events


def test_a_users_stream_that_begins_with_a_dollar_is_the_users_and_so_is_its_metadata(store: Store, tmp_path: Path) -> None:
    replay(store, recorded("nest"))
    store.append("$$$svc-catch-all", [NewEvent(id=uuid4(), type="$metadata", data=b'{"$maxCount": 1}')])
    export_log(store.uri, tmp_path / "lake")
    assert lake_rows(tmp_path / "lake") == log_of(store)
    lake = open_lake(tmp_path / "lake")
    assert (lake.info().events, lake.info().user_events, lake.info().system_events) == (91, 90, 0)
    assert lake.timeline.streams("$svc-catch-all").count() == lake.timeline.categories("$svc").count() == 1
    assert lake.timeline.streams("$svc-*").events().collect()["type"].to_list() == ["MailSentEvent"]
    assert lake.timeline.drop(stream="$svc-catch-all").count() == 89
    assert lake.timeline.with_system().streams("$$$svc-catch-all").count() == 1


def test_a_users_stream_that_begins_with_a_dollar_is_hidden_by_its_own_metadata(store: Store, tmp_path: Path) -> None:
    for _ in range(3):
        store.append("$svc-catch-all", [NewEvent(id=uuid4(), type="sent", data=b"{}")])
    store.append("$$$svc-catch-all", [NewEvent(id=uuid4(), type="$metadata", data=b'{"$maxCount": 1}')])
    export_log(store.uri, tmp_path / "lake")
    assert open_lake(tmp_path / "lake").timeline.visible().events().collect()["revision"].to_list() == [2]


@pytest.mark.parametrize(
    ("selection", "said"),
    [
        (Selection(categories=("$ce-order",)), "select the category order"),
        (Selection(categories=("$ce-order",), system=True), "select the category order"),
        (Selection(streams=("$ce-*",)), "--system"),
        (Selection(streams=("user-*", "$projections-x")), "--system"),
        (Selection(categories=("$stats",)), "--system"),
    ],
)
def test_a_selection_of_nothing_but_system_streams_is_refused_with_what_to_do(
    store: Store, tmp_path: Path, selection: Selection, said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        export_log(store.uri, tmp_path / "lake", selection=selection)
    assert not (tmp_path / "lake").exists()


def test_the_command_tells_users_events_from_the_rest(store: Store, tmp_path: Path) -> None:
    replay(store, recorded("with-projections"))
    for lake, words in (("own", []), ("whole", ["--system"])):
        done = CliRunner().invoke(app, ["export", "--source", store.uri, "--lake", str(tmp_path / lake), *words])
        assert done.exit_code == 0, done.output
    # Without an option the lake's own selection holds.
    assert CliRunner().invoke(app, ["export", "--source", store.uri, "--lake", str(tmp_path / "whole")]).exit_code == 0
    own, whole = (CliRunner().invoke(app, ["info", "--lake", str(tmp_path / lake)]).stdout for lake in ("own", "whole"))
    assert "users' events" in own
    assert "120 of users, of 128 in all" in own
    assert "1 stream holds only links" in " ".join(own.split())
    assert "everything" in whole
    assert "events of the server's own" in " ".join(whole.split())


def test_the_commands_follow_links_and_say_how_many_lead_nowhere(store: Store, tmp_path: Path) -> None:
    replay(store, recorded("with-projections"))
    export_log(store.uri, tmp_path / "lake")
    query = "select count(*) as n from events where stream = 'links-1'"
    for command in (["sql", query, "--links", "--json"], ["distribution", "--by", "stream", "--links", "--json"]):
        done = CliRunner().invoke(app, [*command, "--lake", str(tmp_path / "lake")])
        assert done.exit_code == 0, done.output
        assert "2 links lead to what the lake lacks or the store hides" in done.stderr
        found = {row.get("stream", "links-1"): row.get("n", row.get("count")) for row in json.loads(done.stdout)}
        assert found["links-1"] == 3
