"""Asks the operating system for what the workbench needs of it: child processes with limits, files that are whole or absent, signals.

Commands and limits, or the content of a file, come in; results of processes and files on disk go out.
`child_process` runs a function in a process of its own and ends everything that it started; `durable_files` stages, renames and locks.
`stopping` turns signals into an orderly end; `platforms` names the systems that have what is needed here.
Begin reading with `child_process`, then `durable_files`.
"""
