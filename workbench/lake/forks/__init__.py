"""Applies the edits of a what-if to one version of a lake.

A timeline with edits comes in; an overlay goes out, which lists the recorded events that are removed and the events that are added.
Nothing is written into the lake: readers apply the overlay to the recorded events.
`patch_text` changes JSON text and nothing around the change; `patch_sql` does the same for many texts at once, where that is exact.
Begin reading with `apply_edits`, then `overlay`.
"""
