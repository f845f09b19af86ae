"""Adds the workbench to JupyterLab: time travel through one entity's history, ``%%events``, and ``workbench lab``.

Histories of entities and SQL come in from notebook cells; a widget, tables and a running JupyterLab go out.
``magics`` implements ``%%events``, ``lab`` starts JupyterLab, and ``notebooks`` copies the shipped notebooks.
Importing this package imports nothing else, so that a notebook does not wait for Polars before its first question.
Begin reading with ``time_travel``, then ``film``.
"""
