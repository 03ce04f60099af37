"""Warns of every page of the site that would ask another machine for something: scripts, styles, fonts, images."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from sphinx.util import logging

if TYPE_CHECKING:
    from sphinx.application import Sphinx

LOG = logging.getLogger(__name__)
ASKS = re.compile(
    r"""<(?:script|img|iframe|source|video|audio|embed|link(?![^>]*rel="(?:canonical|license)"))\b[^>]*?"""
    r"""\b(?:src|href|data|srcset)=["'](?:https?:)?//([^"'/]+)|@import\s+(?:url\()?["']?(?:https?:)?//([^"')/]+)"""
    r"""|url\(["']?(?:https?:)?//([^"')/]+)""",
    re.IGNORECASE,
)


def look(app: Sphinx, error: Exception | None) -> None:
    """Look through what was built."""
    if error is not None or app.builder.format != "html":
        return
    for path in sorted(Path(app.outdir).rglob("*")):
        if path.suffix in {".html", ".css"}:
            hosts = {host for found in ASKS.findall(path.read_text()) for host in found if host}
            if hosts:
                LOG.warning("%s asks %s", path.relative_to(app.outdir), ", ".join(sorted(hosts)))


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect it."""
    app.connect("build-finished", look)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
