"""Answers questions about entities: their state, their history, and how two histories differ.

A projection, a fold or the name of a category comes in, with a timeline; frames and small results go out.
Each module answers one question and writes nothing into the lake.
What is materialised is used where it is valid; everything else is folded.
Begin reading with `state` and `rebuild`.
"""
