"""Reads one version of a lake and executes timelines over it.

A timeline, or a user's SQL, comes in; a lazy relation of DuckDB, a lazy frame of Polars, or the chunks of a replay go out.
`snapshot` holds the files of one version and picks those that a timeline needs by their statistics.
`query`, `scan` and `extract` are the three ways to read them; the other modules generate SQL for these.
Begin reading with `snapshot`.
"""
