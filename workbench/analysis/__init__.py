"""Questions that are asked of a history: one module a question, each a function of a timeline."""

from workbench.analysis.distribution import distribution

__all__ = ["distribution"]
