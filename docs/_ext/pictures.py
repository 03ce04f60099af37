"""``{gallery}``: the screenshots that ``tools/gallery.py`` left in build/gallery, by their manifest.

Without them the page says how to make them, so that the site can be built without a browser.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Final

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

if TYPE_CHECKING:
    from sphinx.application import Sphinx

MADE: Final = Path(__file__).resolve().parents[2] / "build" / "gallery"


class Gallery(SphinxDirective):
    """All pictures, in the order in which they were taken."""

    def run(self) -> list[nodes.Node]:
        """Make a figure of each."""
        manifest = MADE / "manifest.json"
        if not manifest.exists():
            note = "The pictures are made by tools/gallery.py, which needs Chromium; this site was built without them."
            return [nodes.note("", nodes.paragraph("", note))]
        self.env.note_dependency(str(manifest))
        made: list[nodes.Node] = []
        for row in json.loads(manifest.read_text()):
            figure = nodes.figure(classes=["shot", row["form"]])
            uri = f"_static/gallery/{row['file']}"
            up = "../" * self.env.docname.count("/")
            html = (
                f'<a href="{up}{uri}"><img src="{up}{uri}" alt="{row["alt"]}" loading="lazy" '
                f'width="{row["width"]}" height="{row["height"]}"></a>'
            )
            figure += nodes.raw("", html, format="html")
            figure += nodes.caption("", row["caption"])
            made.append(figure)
        return made


def copy(app: Sphinx, error: Exception | None) -> None:
    """Put the pictures beside the pages."""
    if error is None and app.builder.format == "html" and MADE.exists():
        shutil.copytree(MADE, Path(app.outdir) / "_static" / "gallery", dirs_exist_ok=True)


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect it."""
    app.add_directive("gallery", Gallery)
    app.connect("build-finished", copy)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
