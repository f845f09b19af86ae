"""Publication: typed tables for other tools, made of a lake and kept up to date."""

from workbench.publication.publishing import Published, publish

__all__ = ["Published", "publish"]
