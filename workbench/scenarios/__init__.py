"""Scenarios: what-ifs kept as files, and what they come to."""

from workbench.scenarios.effect import Consequence, Measured, WhatIf, whatif
from workbench.scenarios.scenario import Scenario, Watched, find_scenario

__all__ = ["Consequence", "Measured", "Scenario", "Watched", "WhatIf", "find_scenario", "whatif"]
