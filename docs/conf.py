"""Builds the documentation: `nox -s docs`."""

from __future__ import annotations

import sys
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).parent))

import tables
from docutils import nodes

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment

project = "kafka_throttle"
author = "the kafka_throttle authors"
project_copyright = author
release = version = metadata.version("kafka-throttle")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_click"]
exclude_patterns = ["_build"]
default_role = "py:obj"
smartquotes_action = "qe"  # no dashes: "--option" is meant as it stands

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_typehints = "none"
autodoc_member_order = "bysource"
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_attr_annotations = False

html_theme = "furo"
pygments_style = "tango"
html_title = f"kafka_throttle {release}"
html_static_path = ["_static"]
html_css_files = ["custom.css"]
html_copy_source = False
html_show_sphinx = False


def insert_tables(_app: Sphinx, _page: str, source: list[str]) -> None:
    """Put generated text in the place of its marker."""
    source[0] = tables.filled(source[0])


def pages_with_tables(_app: Sphinx, env: BuildEnvironment, *_changes: Any) -> list[str]:
    """Return the pages that a change of the code may have changed."""
    return [
        page for page in env.found_docs if tables.MARKER.search(Path(env.doc2path(page)).read_text("utf-8"))
    ]


def mark_code(_app: Sphinx, _what: str, _name: str, _obj: Any, _options: Any, lines: list[str]) -> None:
    """Have an indented block after a colon and an empty line shown as code, as the docstrings mean it."""
    for number in range(len(lines) - 2):
        introduces = lines[number].endswith(":") and not lines[number].startswith(" ")
        if introduces and not lines[number + 1] and lines[number + 2].startswith("    "):
            lines[number] += ":"


def set_dashes(_app: Sphinx, page: nodes.document) -> None:
    """Set the dashes between the names of arguments and their descriptions, which smartquotes would."""
    for text in list(page.findall(nodes.Text)):
        if text == " -- ":
            text.parent.replace(text, nodes.Text(" \N{EN DASH} "))


def setup(app: Sphinx) -> None:
    """Connect what this project adds to Sphinx."""
    app.connect("env-get-outdated", pages_with_tables)
    app.connect("source-read", insert_tables)
    app.connect("doctree-read", set_dashes)
    app.connect("autodoc-process-docstring", mark_code, priority=400)  # before napoleon
