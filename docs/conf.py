"""Sphinx's configuration: `make docs` builds these pages strictly and offline, with a reference that is written from the code."""

import sys
from pathlib import Path

import workbench

sys.path.insert(0, str(Path(__file__).parent))
import pages_from_code

project = "Event workbench"
author = "the authors of the event workbench"
copyright = "the authors of the event workbench, Apache License 2.0"  # noqa: A001  # Sphinx's name
version = release = workbench.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "numpydoc", "sphinx_copybutton"]
html_theme = "furo"
html_title = "Event workbench"
html_theme_options = {"navigation_with_keys": True}
html_show_sourcelink = False

myst_enable_extensions = ["deflist", "fieldlist"]
myst_heading_anchors = 4

default_role = "code"  # `name` in a docstring is code; it need not be a public name
nitpicky = True
# Types of other libraries have no page here, and intersphinx would fetch their inventories from the network.
nitpick_ignore_regex = [("py:(class|obj|data|exc|mod)", r".*"), ("py:(func|meth|attr)", r"(?!workbench\.\w+$).*")]

autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 100
python_use_unqualified_type_names = True
numpydoc_show_class_members = False
numpydoc_xref_param_type = False
copybutton_exclude = ".linenos, .gp, .go"


def setup(_: object) -> None:
    """Write the pages of the reference before Sphinx looks for pages."""
    pages_from_code.write(Path(__file__).parent / "reference")
