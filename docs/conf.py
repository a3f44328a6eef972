"""Sphinx configuration: `python -m sphinx -W docs docs/_build` makes the pages; the examples in them run as tests."""

import striate

project = "striate"
author = "The striate developers"
version = release = striate.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "striate"

myst_enable_extensions = ["dollarmath", "colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_format = "short"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
default_role = "code"
# The figures of the benchmarks and the house style are read where they are kept.
suppress_warnings = ["myst.xref_missing"]
