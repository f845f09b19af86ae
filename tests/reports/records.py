"""A record that tests write by hand."""

from __future__ import annotations

from datetime import UTC, datetime

from workbench.reports.record import Asked, Basis, RunRecord
from workbench.reports.request import RunLimits

A_RECORD = RunRecord(
    title="Which events make up this history?",
    outcome="succeeded",
    message="",
    cell=None,
    started=datetime(2026, 3, 1, 6, tzinfo=UTC),
    seconds=2.5,
    memory=400_000_000,
    asked=Asked(
        notebook="event_types",
        lake="/lakes/orders",
        at="2026-03-01T00:00:00Z",
        scenario=None,
        parameters={"every": "1w"},
        code=False,
        limits=RunLimits(),
    ),
    basis=Basis(
        store="esdb://store.example:2113",
        log="00000000-0000-4000-8000-000000000001 at position 100",
        table="1",
        lake_version=1,
        cutoff="2026-03-01T00:00:00Z",
        position=4200,
        events=12345,
        late=0,
        edits=(),
        data="d",
        notebook="n",
        scenario=None,
        defaults={"every": "auto"},
        packages={"python": "3.11.2"},
    ),
    page="p",
)
