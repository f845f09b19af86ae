"""Publishes typed tables for tools that do not ask the lake themselves, and keeps them up to date.

A timeline comes in, and with it projections and results that are to be published beside the events.
One table for each event type, tables of states and a catalogue go out, as a folder of files or as one DuckDB file.
A publication changes as a whole or not at all, and says up to which event it is complete.
Begin reading with `publishing`.
"""

from workbench.publication.publishing import Published, publish

__all__ = ["Published", "publish"]
