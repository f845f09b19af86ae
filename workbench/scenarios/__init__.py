"""Runs what-ifs that are written as files, and shows what they change.

A YAML file comes in: a question, edits of the history, and measures of projections.
The events that the edits change, and each measure before and after them, go out.
``scenario`` reads the file, ``effect`` applies it to a timeline, and ``measures`` evaluates the measures.
Nothing is written to the lake.
Begin reading with ``scenario``.
"""

from workbench.scenarios.effect import Consequence, Measured, WhatIf, whatif
from workbench.scenarios.scenario import Scenario, Watched, find_scenario

__all__ = ["Consequence", "Measured", "Scenario", "Watched", "WhatIf", "find_scenario", "whatif"]
