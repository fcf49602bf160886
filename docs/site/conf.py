"""How Sphinx builds the documentation site: see docs/design.md, "The documentation site".

    sphinx-build -E -a -W --keep-going -c docs/site . build/site

The source folder is the checkout's root, so that a link from one page to another is the same here
and on the repository's own pages. What only the site has is added while it is built: the order of
the pages, the options of every command, the fields of the experiment file.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from generated import ADDED, with_options

import taskaware

project = "taskaware"
author = "The taskaware authors"
project_copyright = author
release = version = taskaware.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
root_doc = "README"
include_patterns = [
    *("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/**"),
    *("experiments/manifests/README.md", "benchmarks/README.md"),
]
exclude_patterns = [".*", "build", "dist", "runs", "shared", "docs/site/index.html"]

myst_heading_anchors = 4
suppress_warnings = ["myst.header"]  # a part of a page may begin one level deeper

default_role = "code"  # single backticks are code in the docstrings, as in Markdown
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"members": True, "exclude-members": "__init__, __new__"}
napoleon_use_rtype = False
napoleon_use_ivar = True

html_theme = "furo"
html_title = f"taskaware {release}"
html_extra_path = ["index.html"]  # leads to README.html
html_copy_source = False
html_show_sphinx = False
templates_path: list[str] = []


def add_what_is_generated(_app: object, page: str, source: list[str]) -> None:
    """Add to a page what is made from the code, before Sphinx reads it."""
    source[0] = with_options(source[0])
    if page in ADDED:
        source[0] = f"{source[0].rstrip()}\n\n{ADDED[page]()}"


def setup(app: object) -> None:
    """Called by Sphinx."""
    app.connect("source-read", add_what_is_generated)  # type: ignore[attr-defined]
