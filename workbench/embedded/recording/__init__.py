"""Records events as KurrentDB does: the log of an embedded store.

Proposed appends, deletions and metadata come in; recorded events at their positions, or the reason of a refusal, go out.
Records are kept in memory or in an SQLite file, with the positions that a real server would give them.
The clock of a store can be set, so that tests choose when events happen.
Begin reading with `log`.
"""
