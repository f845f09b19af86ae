"""What drift promises: the terms add up to the divergence, and only the mix counts."""

from __future__ import annotations

import math
from collections import Counter
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.lakes import START, Recorded, write_lake
from tests.laws import at_least
from workbench.analysis import drift
from workbench.errors import UsageError
from workbench.lake import open_lake
from workbench.timeline import Timeline

LETTERS = "abcdef"


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Timeline:
    """Types that are differently frequent."""
    events = [
        Recorded(LETTERS[number * number % len(LETTERS)], START + timedelta(hours=number), f"s-{number % 7}") for number in range(400)
    ]
    return open_lake(write_lake(tmp_path_factory.mktemp("lake"), events)).timeline


def _divergence(before: Counter[str], after: Counter[str]) -> dict[str, float]:
    """The terms of the Jensen-Shannon divergence as the difference of entropies, another form of the definition."""

    def entropy(share: float) -> float:
        return -share * math.log2(share) if share else 0.0

    p = {name: before[name] / before.total() for name in before | after}
    q = {name: after[name] / after.total() for name in before | after}
    return {name: entropy((p[name] + q[name]) / 2) - entropy(p[name]) / 2 - entropy(q[name]) / 2 for name in p}


@settings(max_examples=at_least(50), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut=st.integers(1, 399), end=st.integers(1, 400))
def test_terms_are_those_of_the_definition_and_add_up_to_the_divergence(history: Timeline, cut: int, end: int) -> None:
    before, after = history.upto(position=cut * 100), history.after(position=min(cut, end - 1) * 100).upto(position=end * 100)
    found = drift(before, after)
    counts = [Counter(timeline.events().collect()["type"]) for timeline in (before, after)]
    expected = _divergence(*counts)
    assert found.divergence == pytest.approx(sum(expected.values()), abs=1e-12)
    assert dict(found.terms.select("type", "contribution").iter_rows()) == pytest.approx(expected, abs=1e-12)
    assert found.terms["contribution"].is_sorted(descending=True)
    assert (found.terms["before"].sum(), found.terms["after"].sum()) == tuple(count.total() for count in counts)
    assert found.terms["change"].sum() == pytest.approx(0, abs=1e-12)


def test_a_history_does_not_drift_from_itself(history: Timeline) -> None:
    found = drift(history, history, by="category")
    assert found.divergence == 0
    assert found.terms["fate"].to_list() == ["same"]
    assert found.terms["drift_share"].to_list() == [None]


def test_only_the_mix_counts_and_not_how_many_events_there_are(tmp_path: Path) -> None:
    few = open_lake(write_lake(tmp_path / "few", [Recorded(name, START) for name in "aab"])).timeline
    many = open_lake(write_lake(tmp_path / "many", [Recorded(name, START) for name in "aab" * 50])).timeline
    assert drift(few, many).divergence == 0


def test_histories_without_a_type_in_common_are_one_bit_apart(history: Timeline) -> None:
    found = drift(history.types("a"), history.types("b", "d"))
    assert found.divergence == pytest.approx(1)
    assert dict(found.terms.select("type", "fate").iter_rows()) == {"a": "vanished", "b": "new", "d": "new"}


def test_types_that_grow_and_shrink_are_told_apart(tmp_path: Path) -> None:
    before = open_lake(write_lake(tmp_path / "before", [Recorded(name, START) for name in "aaabbbcccc"])).timeline
    after = open_lake(write_lake(tmp_path / "after", [Recorded(name, START) for name in "abbbbbcccc"])).timeline
    found = drift(before, after)
    assert dict(found.terms.select("type", "fate").iter_rows()) == {"a": "shrunk", "b": "grown", "c": "same"}
    assert found.terms["drift_share"].sum() == pytest.approx(1)
    assert found.terms["type"].to_list()[-1] == "c"


def test_what_if_drifts_by_what_was_dropped(history: Timeline) -> None:
    found = drift(history, history.drop(type="a"))
    assert found.terms.row(0, named=True)["type"] == "a"
    assert found.terms.row(0, named=True)["fate"] == "vanished"


def test_an_empty_history_has_no_mix_to_compare(history: Timeline) -> None:
    found = drift(history, history.types("nothing"))
    assert found.divergence is None
    assert found.terms["contribution"].null_count() == found.terms.height > 0
    assert "empty" in str(found)
    assert drift(history.types("nothing"), history.types("nothing")).terms.is_empty()


def test_an_unknown_grouping_is_refused(history: Timeline) -> None:
    with pytest.raises(UsageError, match="count by 'type', 'category' or 'stream'"):
        drift(history, history, by="colour")  # type: ignore[arg-type]  # the point of the test
