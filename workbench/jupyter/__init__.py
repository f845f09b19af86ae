"""In JupyterLab: time travel through one entity's history, ``%%events``, and ``workbench lab``.

Imports nothing by itself: a notebook that loads the extension should not wait for Polars before it asks anything.
"""
