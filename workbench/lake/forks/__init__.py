"""Applies the edits of a what-if to one version of a lake.

A timeline with edits comes in; an overlay goes out, which says which recorded events are gone and which stand there instead or besides.
Nothing is written into the lake: readers put the overlay over the recorded events.
`patch_text` changes JSON text and nothing around the change; `patch_sql` does the same for many texts at once, where that is exact.
Begin reading with `apply_edits`, then `overlay`.
"""
