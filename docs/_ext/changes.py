"""``{changes}``: what is in changes/ and waits for a release, newest kinds first."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

if TYPE_CHECKING:
    from sphinx.application import Sphinx

FOLDER: Final = Path(__file__).resolve().parents[2] / "changes"
KINDS: Final = ("security", "removed", "changed", "added", "fixed")


class Changes(SphinxDirective):
    """The fragments, by their kind."""

    option_spec: ClassVar = {}

    def run(self) -> list[nodes.Node]:
        """Make a list of each kind."""
        made: list[nodes.Node] = []
        for kind in KINDS:
            found = sorted(FOLDER.glob(f"*.{kind}.md"))
            if not found:
                continue
            for path in found:
                self.env.note_dependency(str(path))
            text = "\n".join("- " + " ".join(path.read_text().split()) for path in found)
            made.append(nodes.rubric(text=kind.capitalize()))
            made += self.parse_text_to_nodes(text)
        return made


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect it."""
    app.add_directive("changes", Changes)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
