"""The tree of pages is what index pages list: their links are read, and nothing is listed twice.

For each heading of a page called ``index.md`` the links under it to other pages become a hidden ``toctree`` with the
heading as its caption, so the same list serves those who read the files and those who read the site.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sphinx.application import Sphinx


def add_trees(app: Sphinx, docname: str, source: list[str]) -> None:
    """Append the trees to the text of an index page."""
    del app
    if docname.rpartition("/")[2] != "index":
        return
    trees = []
    for section in re.split(r"(?m)^#+ ", source[0])[1:]:
        caption, _, text = section.partition("\n")
        pages = dict.fromkeys(re.findall(r"(?m)^[-|].*?\]\(((?!\.\./)[^)#:\s]+)\.md\)", text))
        if pages:
            name = f":caption: {caption.strip()}\n" if docname == "index" else ""
            trees.append(f"\n```{{toctree}}\n:hidden:\n{name}\n" + "\n".join(pages) + "\n```\n")
    source[0] += "".join(trees)


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect it."""
    app.connect("source-read", add_trees)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
