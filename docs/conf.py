"""Sphinx makes the site of the Markdown files here and of the docstrings: ``make docs``.

Nothing is fetched while it is built, and the pages ask nobody but their own folder for anything (``_ext/offline.py``
looks). What can be told from the code is told from the code: see ``_ext/``.
"""

from __future__ import annotations

import configparser
import sys
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from pygments.lexers.c_cpp import CLexer
from sphinx.ext.napoleon.docstring import GoogleDocstring

if TYPE_CHECKING:
    from sphinx.application import Sphinx

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path[:0] = [str(HERE / "_ext"), str(ROOT)]

_setup = configparser.ConfigParser(interpolation=None)
_setup.read(ROOT / "setup.cfg")

project = "ipcserver"
author = "the ipcserver project"
project_copyright = "the ipcserver project, MIT licence"
version = release = _setup["metadata"]["version"]

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    # Our own, in _ext/.
    "changes",
    "commands",
    "conformance",
    "contents",
    "diagrams",
    "names",
    "offline",
    "pictures",
    "tables",
]
exclude_patterns = ["_ext", "_static"]
nitpicky = True
root_doc = "index"
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 4

autodoc_default_options = {"members": True, "show-inheritance": True}
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
autodoc_class_signature = "mixed"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 100
add_module_names = False
toc_object_entries = False


def _sentence(docstring: GoogleDocstring) -> tuple[str, list[str]]:
    return "", list(docstring._lines)  # noqa: SLF001


# Under a constant stands a sentence. Napoleon takes all before its first colon for a type.
GoogleDocstring._consume_inline_attribute = _sentence  # type: ignore[method-assign]  # noqa: SLF001

html_theme = "furo"
html_title = f"ipcserver {version}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "navigation_with_keys": True,
    # The console's green, dark enough for text on white and light enough for text on black.
    "light_css_variables": {
        "color-brand-primary": "#0b6b53",
        "color-brand-content": "#0b6b53",
        "font-stack": "system-ui, -apple-system, 'Segoe UI', 'Liberation Sans', 'DejaVu Sans', sans-serif",
        "font-stack--monospace": "ui-monospace, 'Liberation Mono', 'DejaVu Sans Mono', monospace",
    },
    "dark_css_variables": {"color-brand-primary": "#5fd1ac", "color-brand-content": "#5fd1ac"},
}
pygments_style = "friendly"
pygments_dark_style = "github-dark"
highlight_language = "none"
default_role = "code"


def setup(app: Sphinx) -> None:
    """Let .x files be coloured as C, which they resemble; a change of our extensions makes all pages anew."""
    app.add_lexer("x", CLexer)
    digest = sha256(b"".join(path.read_bytes() for path in sorted((HERE / "_ext").glob("*.py")))).hexdigest()
    app.add_config_value("extensions_digest", digest, "env")
