"""What a plan reads from a log, and where each value is in a chunk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from workbench.fold.entity_scope import keyed_by_stream, mention_of, streams_named
from workbench.projection import plan as ir
from workbench.projection.evaluation import columns, places
from workbench.timeline.extraction import Extraction, PayloadPath, Root, Wanted


@dataclass(frozen=True, slots=True)
class ExtractionLayout:
    """The extraction of a plan, and the index of each of its values in a chunk.

    Attributes
    ----------
    slots
        For each type, the index of each extracted path in the lists.
    columns
        The columns of events that values, conditions and keys read.
    """

    extraction: Extraction
    slots: tuple[Mapping[ir.Path, tuple[Root, int]], ...]
    columns: frozenset[str]

    @classmethod
    def of(cls, plan: ir.Plan, *, key: str | None, keys: pl.Series | None = None) -> ExtractionLayout:
        """Return the layout of a plan for all entities, for one, or for those whose keys are stream names of one category."""
        wanted, slots = [], []
        for handled in plan.types:
            exact = set(_decimal_places(handled, plan))
            found = list(dict.fromkeys(places(handled)))
            wanted.append(Wanted(handled.type, tuple(PayloadPath(path.root, path.steps, digits=path in exact) for path in found)))
            by_root = {root: [path for path in found if path.root == root] for root in ("data", "metadata")}
            slots.append({path: (path.root, by_root[path.root].index(path)) for path in found})
        read = frozenset(columns(plan.types))
        own = {"revision", "recorded_at", *read}
        if any(branch.key is None for handled in plan.types for branch in handled.branches):
            own |= {"stream"} if len(plan.categories) == 1 else {"stream", "category"}
        return cls(
            Extraction(
                plan.categories,
                tuple(wanted),
                tuple(sorted(own)),
                None if key is None else streams_named(plan, key),
                apart=keyed_by_stream(plan) and len(plan.categories) == 1,
                among=None if keys is None else f"{plan.categories[0]}-" + keys,
                mention=None if key is None else mention_of(plan, key),
            ),
            tuple(slots),
            read,
        )


def _decimal_places(handled: ir.HandledType, plan: ir.Plan) -> list[ir.Path]:
    decimals = {field.name for field in plan.fields if "decimal" in (field.kind.name, field.kind.element and field.kind.element.name)}
    return [
        path
        for branch in handled.branches
        for handler in branch.handlers
        for operation in handler.operations
        if operation.field in decimals
        for path in places(operation)
    ]
