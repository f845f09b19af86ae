"""Publishes typed tables for tools that do not query the lake themselves, and keeps them up to date.

A timeline comes in, optionally with projections and results to publish beside the events.
One table for each event type, tables of states and a catalogue go out, as a folder of files or as one DuckDB file.
A publication changes atomically, and records up to which event it is complete.
Begin reading with `publishing`.
"""

from workbench.publication.publishing import Published, publish

__all__ = ["Published", "publish"]
