"""Folds events into state.

A projection's plan, or a user's `Fold`, and the events of a timeline come in; states, versions and histories go out as `results`.
`event_by_event` says what a projection means, and runs whatever cannot run otherwise; `vectorised` gives the same results column by column,
and tests hold the two equal.
`resolve` turns what a caller asks about into a plan or a fold, and `entity_scope` finds the events of one entity.
Begin reading with `dispatch`, which chooses the engine.
"""
