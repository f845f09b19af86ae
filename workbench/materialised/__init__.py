"""Keeps results of earlier folds in the lake, so that later questions fold only what is new.

A projection or a fold and a timeline come in; histories of projections, snapshots of folds and indexes of keys are written and found again.
Each is valid for one lake, one meaning of the projection and one version of the engines; whatever does not fit is ignored.
Answers are the same, bit for bit, with and without them.
Begin reading with `fold_point`, which finds what is valid, then `histories`.
"""
