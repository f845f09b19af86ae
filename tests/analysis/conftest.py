"""The sample's history as a lake, with what its generator knows to be true."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from tests.sample.lake import write_sample
from workbench.lake import open_lake
from workbench.sample import generate
from workbench.sample.facts import RunningCounts
from workbench.timeline import Timeline


@dataclass(frozen=True, slots=True)
class Sample:
    """A history and its truth."""

    timeline: Timeline
    facts: RunningCounts


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    system = generate(events=8_000, seed=5)
    lake = open_lake(write_sample(tmp_path_factory.mktemp("sample"), list(system.events())))
    return Sample(lake.timeline, system.facts)
