"""Folds one event after the other, in plain Python.

Events in log order come in; states and versions of entities go out.
`plan_fold` runs a projection's plan and defines what a projection means.
`function_fold` runs a `Fold`, a user's function of state and event, in several processes.
Begin reading with `plan_fold`.
"""
