"""Shapes found by signatures are those that are worked out one by one."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from tests.lake.histories import lake_of, row
from tests.laws import at_least
from tests.strategies import payloads
from workbench.payloads import shapes as shapes_module
from workbench.payloads.shapes import shapes
from workbench.payloads.signatures import Signatures
from workbench.timeline import Timeline

ODD = st.sampled_from([
    '{"a": 1, "a": "x"}',
    '{"a": {"b": 1, "b": {}}, "c": [1, 2]}',
    '{"a": [1, {"b": null}], "c": {"d": []}}',
    '{"a": [1, "x"]}',
    '{"a": [12345678901234567, "x"]}',
    '{"a": ["x", "y"], "c": "z"}',
    '{"": 1, "a*": 2, "a.b": {"q\\"": 3}}',
    '{"a": 1234567890123456, "c": 0.5}',
    '{"a": -12345678901234567890}',
    '{"a": {}}',
    '{"a": null}',
    "[1, [2]]",
    "12",
    "12345678901234567890123",
    '"x"',
    '{"a": "\\ud800"}',
])  # fmt: skip
HISTORIES = st.lists(st.tuples(st.sampled_from(["t", "u'", "v"]), st.one_of(payloads(), ODD, ODD), st.booleans()), min_size=1, max_size=14)


def timeline_of(folder: str, history: list[tuple[str, str | None, bool]]) -> Timeline:
    rows = [
        row(10 * at, "s", revision=at, type=name, data=b"\xff" if data is None and is_binary else data or b"")
        for at, (name, data, is_binary) in enumerate(history, 1)
    ]
    return lake_of(Path(folder), rows).timeline


@pytest.mark.parametrize("listed", [2_000, 0])
@settings(max_examples=at_least(60))
@given(history=HISTORIES, sample=st.integers(1, 2))
@example(history=[("t", '{"a": 1, "a": 2}', False), ("t", '{"a": 1, "a": "x"}', False)], sample=2)
@example(history=[("t", "{}", False), ("t", '{"a": 1}', False), ("t", '{"a": {"b": 1}}', False), ("t", None, False)], sample=1)
def test_signatures_tell_the_same_shapes(listed: int, history: list[tuple[str, str | None, bool]], sample: int) -> None:
    by = {"odd": "position % 20 = 10"}
    with TemporaryDirectory() as folder:
        timeline = timeline_of(folder, history)
        expected = shapes(timeline, by=by)
        with (
            patch.object(shapes_module, "_MANY", 0),
            patch.object(shapes_module, "_SAMPLES", 2),
            patch.object(shapes_module, "_SAMPLE", sample),
            patch.object(shapes_module, "_MANY_SIGNATURES", listed),
        ):
            found = shapes(timeline, by=by)
    # Whether to look for long integers is decided by type, and not by payload.
    assert_frame_equal(without_digits(found), without_digits(expected))
    assert most_digits(found).join(most_digits(expected), on="type").filter(pl.col("digits") < pl.col("digits_right")).is_empty()


def without_digits(found: pl.DataFrame) -> pl.DataFrame:
    firsts, lasts = ["first_position", "first_recorded_at"], ["last_position", "last_recorded_at"]
    counted = found.group_by("type", "odd", "held", "shape").agg(pl.col("events").sum(), pl.col(firsts).min(), pl.col(lasts).max())
    return counted.sort("first_position", "type", "shape", "odd")


def most_digits(found: pl.DataFrame) -> pl.DataFrame:
    return found.group_by("type").agg(pl.col("digits").max())


def test_a_signature_proves_nothing_of_places_that_were_not_asked_for() -> None:
    learned = Signatures.learned([("t", 1, [((), "object"), (("a",), "text"), (("b",), "object"), (("c",), "array")])], root="data")
    proven = ['{"a": "x"}', '{"a": null, "c": ["x"], "b": {}}', '{"a": true, "c": []}']
    assert all(learned.proves("t", text) for text in proven)
    unproven = [
        '{"a": 1}',
        '{"a": {}}',
        '{"a": {"x": "y"}}',
        '{"z": null}',
        '{"a": "x", "a": "y"}',
        '{"b": {"z": null}}',
        '{"a": []}',
        '["x"]',
        '{"c": [1]}',
        '{"c": [["x"]]}',
    ]
    assert not any(learned.proves("t", text) for text in unproven)


def test_many_events_are_told_by_signatures(tmp_path: Path) -> None:
    history: list[tuple[str, str | None, bool]] = [("t", json.dumps({"a": at, "b": {"c": "x"}}), False) for at in range(40)]
    timeline = timeline_of(str(tmp_path), [*history, ("t", '{"late": true}', False)])
    with (
        patch.object(shapes_module, "_MANY", 41),
        patch.object(shapes_module, "_SAMPLE", 2),
        patch.object(shapes_module, "_counted", wraps=shapes_module._counted) as counted,
    ):
        found = shapes(timeline)
    assert found.select(pl.col("events")).to_series().to_list() == [40, 1]
    # The one that no sample held is worked out, and it alone.
    quick, careful = counted.call_args_list
    assert "where" not in quick.kwargs
    assert " IN (" in careful.kwargs["where"]
