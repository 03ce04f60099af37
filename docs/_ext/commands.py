"""``{command} NAME``: a command line, as its manual page has it, from the click command (``tools/manpages.py``)."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

if TYPE_CHECKING:
    from sphinx.application import Sphinx

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))
import manpages


def paragraph(text: str) -> nodes.paragraph:
    """Plain text as a paragraph."""
    return nodes.paragraph("", text)


def options(found: manpages.Node) -> list[nodes.Node]:
    """The options of a command as a definition list."""
    rows = nodes.definition_list(classes=["options"])
    for option in found.options:
        term = nodes.term("", "")
        for number, name in enumerate(option.names):
            if number:
                term += nodes.Text(", ")
            term += nodes.literal("", name)
        if option.metavar:
            term += [nodes.Text(" "), nodes.emphasis("", option.metavar)]
        rows += nodes.definition_list_item("", term, nodes.definition("", paragraph(option.text)))
    return [rows] if len(rows) else []


def text(found: manpages.Node) -> list[nodes.Node]:
    """The help of a command."""
    return [
        nodes.literal_block(body, body, language="none") if kept else paragraph(body) for kept, body in found.paragraphs
    ]


class Command(SphinxDirective):
    """One command with all its subcommands."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Make a section for each subcommand."""
        self.env.note_reread()  # the command may have changed anywhere
        name = self.arguments[0]
        top = manpages.page(name)
        made: list[nodes.Node] = [*text(top), *options(top)]
        todo = list(top.children)
        while todo:
            child = todo.pop(0)
            section = nodes.section(ids=[nodes.make_id(child.name)], names=[child.name])
            section += nodes.title("", child.name)
            if child.children:
                todo[:0] = child.children
            else:
                use = " ".join([child.name, *child.synopsis])
                section += nodes.literal_block(use, use, language="none")
            section += [*text(child), *options(child)]
            self.state.document.note_explicit_target(section)
            made.append(section)
        return made


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect it."""
    app.add_directive("command", Command)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
