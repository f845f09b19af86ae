"""A film shows at every moment exactly the state that the history has then, and what it packs is what it shows."""

from __future__ import annotations

import json
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.jupyter.things import EVENTS, Thing, things
from tests.lakes import START, Recorded, write_lake
from tests.laws import at_least
from workbench.jupyter.film import Film
from workbench.lake import open_lake
from workbench.replay.steps import steps


def _plain(value: Any) -> str | None:
    """What is shown of a value of the fields of ``Thing``."""
    return None if value is None else json.dumps(value) if isinstance(value, list) else str(value) or "(empty)"


def _hold(film: Film) -> None:
    """Hold every moment of a film against the rows that it was made of."""
    for side, prefix in enumerate(("", "against_")[: len(film.there)]):
        befores, afters = film.steps[f"{prefix}before"].to_list(), film.steps[f"{prefix}after"].to_list()
        moments = [befores[0], *afters]
        for moment, state in enumerate(moments):
            assert film.is_there(moment, side=side) == (state is not None)
            for one in film.fields:
                assert one.text(moment, side=side) == (None if state is None else _plain(state[one.name]))
                for other, before in enumerate(moments):
                    values = [None if held is None else held[one.name] for held in (state, before)]
                    assert one.differs(moment, other, side=side, other_side=side) == (values[0] != values[1])


def test_every_moment_of_a_film_is_the_state_of_the_history_then(tmp_path: Path) -> None:
    film = Film.of(steps(Thing, things(tmp_path), key="1"))
    assert len(film) == len(EVENTS)
    assert [film.is_there(moment) for moment in range(len(film) + 1)] == [False, *[True] * 5, False, False, True, True]
    _hold(film)


@settings(max_examples=at_least(40))
@given(
    st.lists(
        st.tuples(st.sampled_from(["begun", "grown", "named", "tagged", "ended", "odd"]), st.sampled_from(["", "a", "b", "c d"])),
        min_size=1,
        max_size=12,
    )
)
def test_films_of_any_history_and_of_a_fork_beside_it_hold(told: list[tuple[str, str]]) -> None:
    events = [
        Recorded(f"thing.{name}", START + timedelta(hours=number), "thing-1", json.dumps({"name": word, "tag": word}))
        for number, (name, word) in enumerate(told)
    ]
    with tempfile.TemporaryDirectory() as folder:
        now = open_lake(write_lake(Path(folder) / "lake", events)).timeline
        fork = now.drop(type="thing.named").insert(
            stream="thing-1", type="thing.begun", data={"name": "else"}, at=START + timedelta(hours=2)
        )
        film = Film.of(steps(Thing, now, key="1", against=fork))
    _hold(film)
    differing = [
        index
        for index in range(len(film))
        if film.is_there(index + 1) != film.is_there(index + 1, side=1)
        or any(one.differs(index + 1, index + 1, other_side=1) for one in film.fields)
    ]
    assert film.diverged == (differing[0] if differing else None)


def test_the_first_event_of_a_part_of_the_history_is_compared_with_what_was_before_it(tmp_path: Path) -> None:
    film = Film.of(steps(Thing, things(tmp_path).after(position=300), key="1"))
    assert len(film) == len(EVENTS) - 3
    assert film.fields[0].text(0) == "one"
    _hold(film)


def test_texts_that_are_shortened_alike_still_differ() -> None:
    texts = ["x" * 3000 + end + "y" * 3000 for end in ("1", "2", "1")]
    states = pl.DataFrame({"name": texts}).to_struct("after")
    rows = pl.DataFrame({"before": states.shift(1), "after": states})
    one = Film.of(rows).fields[0]
    shown = [one.text(moment) or "" for moment in (1, 2, 3)]
    assert max(map(len, shown)) <= 400
    assert shown[0] != shown[1]
    assert shown[0] == shown[2]
    assert one.differs(1, 2)
    assert not one.differs(1, 3)


@pytest.mark.parametrize("forked", [False, True])
def test_what_is_packed_is_what_is_shown(tmp_path: Path, forked: bool) -> None:
    now = things(tmp_path)
    film = Film.of(steps(Thing, now, key="1", against=now.drop(type="thing.ended") if forked else None))
    packed = film.pack(title="t")
    length = int.from_bytes(packed[:4], "little")
    header = orjson.loads(packed[4 : 4 + length])

    def column(said: list[Any]) -> list[Any]:
        kind, offset, count = said
        assert (4 + length + offset) % 8 == 0
        values: list[Any] = np.frombuffer(packed, f"<{kind}", count, 4 + length + offset).tolist()
        return values

    def names(said: dict[str, Any]) -> list[str | None]:
        return [None if code < 0 else said["texts"][code] for code in column(said["codes"])]

    rows = film.steps
    assert (header["title"], header["count"], header["diverged"]) == ("t", len(film), film.diverged)
    assert column(header["position"]) == rows["position"].to_list()
    assert column(header["recorded"]) == rows["recorded_at"].dt.timestamp("us").to_list()
    assert column(header["revision"]) == rows["revision"].to_list()
    assert bytes(column(header["ids"])).hex() == "".join(rows["event_id"].to_list()).replace("-", "")
    assert names(header["type"]) == rows["event_type"].to_list()
    assert [names(side["outcome"]) for side in header["sides"]] == [
        rows[f"{one}outcome"].to_list() for one in ("", "against_")[: 1 + forked]
    ]
    assert names(header["sides"][0]["why"]) == rows["why"].to_list()
    for said, one in zip(header["fields"], film.fields, strict=True):
        assert (said["name"], tuple(said["texts"])) == (one.name, one.texts)
        for track, kept in zip(said["tracks"], one.tracks, strict=True):
            assert column(track["moments"]) == kept.moments.tolist()
            assert column(track["codes"]) == kept.codes.tolist()


def test_a_field_that_stays_is_kept_once(tmp_path: Path) -> None:
    events = [
        Recorded("thing.begun", START, "thing-1", '{"name": "one"}'),
        *(Recorded("thing.grown", START, "thing-1") for _ in range(500)),
    ]
    film = Film.of(steps(Thing, open_lake(write_lake(tmp_path / "lake", events)).timeline, key="1"))
    kept = {one.name: len(one.tracks[0].moments) for one in film.fields}
    assert kept == {"name": 2, "size": 502, "tags": 2}
