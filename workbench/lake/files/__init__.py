"""Writes the files of a lake and proves what is in them.

Rows of events come in; sorted Parquet files with digests, and the actions that Delta's log records of them, go out.
`location` gives access to a local directory or an object store, and translates the errors of both.
`clustering` merges sorted runs of one range of positions into one epoch; `sums` and `checks` detect changes by other programs.
Begin reading with `format`, which defines the layout of a lake.
"""
