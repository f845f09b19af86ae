"""The one language of conditions and measures, read from text.

A text comes in, from Python, YAML or a command. A condition, a path or a measure goes out, put together by a builder that the caller
hands in: of events by ``workbench.projection.event_conditions``, of states by ``workbench.replay.state_conditions``. sqlglot parses the
text, which is never run. The room imports no lake, no DuckDB and no Polars, and reads no file. Begin with ``parser``; ``tokens`` has the
words of the language, ``builder`` what a caller provides.

The language is the part of SQL that has a meaning for one event or one state::

    data.amount > 100 and data.plan in ('pro', 'team')
    data."first name" = 'Ann' or data.address.city is null
    exists(data.trial) and not data.tags[0] between 'a' and 'm'
    recorded_at >= '2026-03-01' and data.due < timestamp '2026-03-01T09:00:00Z'

- **Names.** In ``where`` of an event: ``data`` and ``metadata``, with a path into the payload, and the event's own ``position``,
  ``prepare_position``, ``stream``, ``category``, ``revision``, ``event_id``, ``type``, ``recorded_at``, ``correlation_id`` and
  ``causation_id``. In measures: the fields of the state. In ``first``, the columns of a history: ``key``, the fields, ``event_type``,
  ``event_count``, ``revision``, ``valid_from`` and the others. Names are case-sensitive, words of the language are not.
- **Paths.** ``.name`` goes into an object, ``[0]`` into an array, from 0. A name that is no word stands in double quotes.
- **Constants.** Numbers, texts in single quotes (a quote inside is doubled), ``true``, ``false`` and ``timestamp '…'``.
- **Comparisons.** ``=``, ``<>`` (or ``!=``), ``<``, ``<=``, ``>``, ``>=``, ``in (…)``, ``between … and …``, each also with ``not``.
- **Missing values.** ``is null`` is true of null and of what is absent, and never unknown; ``exists(…)`` is true of null, and false of
  what is absent.
- **Unknown.** A comparison is unknown, as in SQL, where the value is null, absent, or of another kind than the constant: a text compared
  with a number, say. ``and``, ``or`` and ``not`` follow Kleene's logic, and a condition holds only if it is true. Where a name has one
  kind, as a field or ``type`` has, a constant of another kind is an error. A field that holds JSON is compared as a payload is, and a path
  may go on into it.
- **Time.** ``recorded_at`` and instants of a state are compared as instants; the constant may be a plain text. ``timestamp '…'`` compares
  a text of a payload as an instant.

A measure is an aggregate over states: ``count(*)``, ``count(field)``, ``count(distinct field)``, ``sum(field)``, ``avg(field)``,
``min(field)`` or ``max(field)``, of all entities or of those that fit: ``sum(paid) filter (where plan = 'pro')``. Nulls are left out; a
sum of nothing is 0.

Everything else is refused with the line and column at which it stands: functions, casts, arithmetic, subqueries, comments.
"""
