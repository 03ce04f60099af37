"""``{conformance} rfcNNNN``: the requirements of an RFC from docs/reference/conformance.toml, with status and tests."""

from __future__ import annotations

import tomllib
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

if TYPE_CHECKING:
    from sphinx.application import Sphinx

DATA: Final = Path(__file__).resolve().parents[1] / "reference" / "conformance.toml"
STATUS: Final = {"kept": "kept", "note": "kept with a note", "no": "not kept", "absent": "not applicable"}


class Conformance(SphinxDirective):
    """One RFC's requirements, section by section."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Make a summary and an entry for each requirement."""
        self.env.note_dependency(str(DATA))
        data: dict[str, Any] = tomllib.loads(DATA.read_text())[self.arguments[0]]
        rows: list[dict[str, Any]] = data["requirement"]
        counts = Counter(row["status"] for row in rows)
        summary = "; ".join(f"{counts[word]} {text}" for word, text in STATUS.items() if counts[word])
        left = "; ".join(f"{row['section']} ({row['why']})" for row in data["nothing_required"])
        made: list[nodes.Node] = [
            nodes.paragraph("", f"“{data['title']}”. {len(rows)} requirements: {summary}."),
            nodes.paragraph("", f"Sections that require nothing: {left}."),
        ]
        section = ""
        for row in rows:
            if row["section"] != section:
                section = row["section"]
                made.append(nodes.rubric(text=f"Section {section}" if section[0].isdigit() else section))
            entry = nodes.container(classes=["requirement", f"status-{row['status']}"])
            line = nodes.paragraph(classes=["verdict"])
            line += nodes.strong("", STATUS[row["status"]])
            entry += nodes.block_quote("", nodes.paragraph("", f"“{row['quote']}”"))
            if row.get("note"):
                parsed = self.parse_text_to_nodes(row["note"])
                line += [nodes.Text(": "), *parsed[0].children]
            entry += line
            if row.get("tests"):
                proof = nodes.bullet_list(classes=["tests"])
                for test in row["tests"]:
                    path, _, name = test.partition("::")
                    words = nodes.paragraph(
                        "", "", nodes.Text(name.replace("::", ": ").replace("test_", "").replace("_", " "))
                    )
                    words += [nodes.Text(" "), nodes.literal("", path)]
                    proof += nodes.list_item("", words)
                entry += proof
            made.append(entry)
        return made


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect it."""
    app.add_directive("conformance", Conformance)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
