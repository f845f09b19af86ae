"""Finds out what payloads look like: which keys they hold, of which kinds, and how often.

The payloads of a timeline's events come in, as the lake extracts them.
Shapes, profiles of a category and drafts of projections go out; no payload is changed, and no state is folded.
`signatures` tells payloads of one shape apart from others without parsing each of them.
Begin reading with `shapes`.
"""
