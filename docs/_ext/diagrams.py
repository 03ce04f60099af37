"""``{diagram} NAME``: pictures drawn from the code's own tables, as SVG in the page and in words beside it.

- ``packages``: which package imports which, and where Twisted is, from the import statements.
- ``outcomes``: the tree of errors, from the classes of ``oncrpc.errors``, with what each is on the wire.
- ``call``, ``reply``, ``error-reply``: messages as the codecs write them, taken apart by ``oncrpc.explain``.
- ``reply-tree``: the unions of ``rpc_msg.x``, from the generated types: which discriminant leads where.

Colours are the theme's (``_static/site.css``), so that both schemes are legible. Each picture has a title and a
description for screen readers, and the same facts as a list that can be opened below it.
"""

from __future__ import annotations

import ast
import html
import typing
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

import xdr
from ipcserver._gen import ipc
from oncrpc import errors
from oncrpc._gen import rpc_msg
from oncrpc.auth import AuthSys
from oncrpc.client import StreamClient
from oncrpc.explain import Explanation, Programs, explain_stream
from oncrpc.identity import Identity
from oncrpc.records import frame_record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from sphinx.application import Sphinx

ROOT: Final = Path(__file__).resolve().parents[2]
PACKAGES: Final = ("xdr", "oncrpc", "rpcbind_reg", "ipcserver")
LINE: Final = 18


@dataclass
class Drawing:
    """An SVG picture that grows, and what it says in words."""

    width: int
    title: str
    words: list[str] = field(default_factory=list)
    height: int = 0
    parts: list[str] = field(default_factory=list)

    def text(self, x: float, y: float, content: str, kind: str = "", *, anchor: str = "start") -> None:
        """Write a line whose baseline is y."""
        self.height = max(self.height, int(y) + 6)
        self.parts.append(
            f'<text x="{x:g}" y="{y:g}" class="{kind}" text-anchor="{anchor}">{html.escape(content)}</text>'
        )

    def box(self, x: float, y: float, width: float, height: float, kind: str = "box") -> None:
        """Draw a rectangle."""
        self.height = max(self.height, int(y + height) + 2)
        self.parts.append(f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="3" class="{kind}"/>')

    def line(self, points: Sequence[tuple[float, float]], kind: str = "line", *, arrow: bool = False) -> None:
        """Draw a line through points, with a head at its end if it is an arrow."""
        path = "M" + " L".join(f"{x:g},{y:g}" for x, y in points)
        head = ' marker-end="url(#head)"' if arrow else ""
        self.parts.append(f'<path d="{path}" class="{kind}"{head}/>')

    def svg(self, name: str) -> str:
        """The whole picture."""
        head = (
            '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" '
            'orient="auto">'
            '<path d="M0,0 L8,4 L0,8 z" class="head"/></marker></defs>'
        )
        described = html.escape("; ".join(self.words))
        return (
            f'<svg class="diagram" viewBox="0 0 {self.width} {self.height + 4}" width="{self.width}" role="img" '
            f'aria-labelledby="{name}-title {name}-desc"><title id="{name}-title">{html.escape(self.title)}</title>'
            f'<desc id="{name}-desc">{described}</desc>{head}{"".join(self.parts)}</svg>'
        )


# ---- packages -------------------------------------------------------------------------------------------------------


def imported(path: Path) -> Iterator[str]:
    """Give the names that a module imports, those for type checkers alone left out."""

    def visit(node: ast.AST) -> Iterator[str]:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            return
        for child in ast.iter_child_nodes(node):
            yield from visit(child)

    yield from visit(ast.parse(path.read_text()))


def packages() -> Drawing:
    """One row for each package, its folders as boxes; arrows down to what it imports, with the number of modules."""
    draw = Drawing(720, "The packages and what they import")
    uses: Counter[tuple[str, str]] = Counter()
    folders: dict[str, dict[str, list[int]]] = {}
    for package in PACKAGES:
        folders[package] = {}
        for path in sorted((ROOT / package).rglob("*.py")):
            inside = path.relative_to(ROOT).parts
            folder = inside[1] if len(inside) > 2 else ""  # noqa: PLR2004
            tops = {name.partition(".")[0] for name in imported(path)}
            counts = folders[package].setdefault(folder, [0, 0, 0])
            counts[0] += 1
            counts[1] += len(path.read_text().splitlines())
            counts[2] += "twisted" in tops
            uses.update((package, top) for top in tops if top in PACKAGES and top != package)
    y, rows = 4, {}
    for package in reversed(PACKAGES):
        boxes = sorted(folders[package].items())
        modules, lines = sum(v[0] for _, v in boxes), sum(v[1] for _, v in boxes)
        height = 30 + 46 * -(-len(boxes) // 4) + 8
        draw.box(110, y, 600, height)
        draw.text(122, y + 21, package, "strong")
        draw.text(698, y + 21, f"{modules} modules, {lines:,} lines", "quiet", anchor="end")
        for number, (folder, (count, _, twisted)) in enumerate(boxes):
            x, top = 122 + 145 * (number % 4), y + 30 + 46 * (number // 4)
            draw.box(x, top, 137, 38, "box warm" if twisted else "box inner")
            draw.text(x + 8, top + 16, f"{folder}/" if folder else "(top)", "code")
            note = f"{count} modules" if count > 1 else "1 module"
            draw.text(x + 8, top + 31, f"{twisted} of {count} on Twisted" if twisted else note, "quiet")
        rows[package] = (y, height)
        y += height + 22
    # Each arrow has a lane of its own, the shortest nearest to the boxes, and ends below those that came before it.
    edges = sorted(uses.items(), key=lambda edge: (PACKAGES.index(edge[0][0]) - PACKAGES.index(edge[0][1]), edge[0]))
    into, out = Counter[str](), Counter[str]()
    for lane, ((package, other), count) in enumerate(edges):
        x = 78 - 13 * lane
        top = rows[package][0] + rows[package][1] - 10 - 9 * out[package]
        bottom = rows[other][0] + 18 + 16 * into[other]
        out[package] += 1
        into[other] += 1
        draw.line([(110, top), (x, top), (x, bottom), (108, bottom)], arrow=True)
        draw.text(100, bottom - 3, str(count), "quiet", anchor="end")
        draw.words.append(f"{package} imports {other}, in {count} modules")
    draw.words += [
        f"{package}/{folder or '(top)'}: {v[0]} modules" + (f", {v[2]} with Twisted" if v[2] else "")
        for package in PACKAGES
        for folder, v in sorted(folders[package].items())
    ]
    return draw


# ---- the tree of errors ---------------------------------------------------------------------------------------------


def wire(kind: type) -> str:
    """What an exception is in a reply."""
    for name in ("accept_stat", "reject_stat"):
        stat = getattr(kind, name, None)
        if stat is not None:
            return f"{name} {stat.name} ({int(stat)})"
    return ""


def outcomes() -> Drawing:
    """The classes as a tree, indented, with their first sentence."""
    draw = Drawing(720, "The tree of outcomes: every failure of a call")
    bottom: dict[type, float] = {}

    def visit(kind: type, depth: int) -> None:
        y = 8 + len(draw.words) * 42
        x = 4 + 28 * depth
        sentence = (kind.__doc__ or "").strip().splitlines()[0].split(" (")[0].rstrip(".").replace("`", "")
        stat = wire(kind)
        draw.box(x, y, 704 - x, 36, "box warm" if stat else "box inner")
        draw.text(x + 8, y + 15, kind.__name__, "code strong")
        draw.text(x + 8, y + 30, sentence if len(sentence) < 96 else sentence[:95] + "…", "quiet")  # noqa: PLR2004
        draw.text(696, y + 15, stat, "code", anchor="end")
        parent = kind.__bases__[0]
        if parent in bottom:
            draw.line([(x - 14, bottom[parent]), (x - 14, y + 18), (x, y + 18)])
        bottom[kind] = y + 36
        draw.words.append(f"{kind.__name__}, a kind of {parent.__name__}" + (f": {stat}" if stat else ""))
        for child in kind.__subclasses__():
            if child.__module__ == errors.__name__:
                visit(child, depth + 1)

    visit(errors.RPCError, 0)
    return draw


# ---- messages -------------------------------------------------------------------------------------------------------


def message(explained: Explanation, data: bytes, title: str) -> Drawing:
    """One row for each unit of four bytes: offset, bytes, and the field that they belong to."""
    draw = Drawing(720, title)
    y = 22
    for x, head in ((4, "byte"), (58, "on the wire"), (222, "field"), (430, "value")):
        draw.text(x, 14, head, "quiet")
    for part in explained.parts:
        level = 12 * part.level
        if not part.size:
            draw.text(222 + level, y + 14, part.name, "strong")
            draw.words.append(f"{part.name}:")
            y += LINE + 2
            continue
        units = max(1, -(-part.size // 4))
        shown = min(units, 4)
        for unit in range(shown):
            cut = units > shown and unit == shown - 1
            chunk = b"" if cut else data[part.offset + 4 * unit : part.offset + min(part.size, 4 * unit + 4)]
            text = "…" if cut else chunk.hex(" ")
            draw.box(56, y + LINE * unit, 150, LINE, "cell" if part.name != "padding" else "cell faint")
            draw.text(64, y + LINE * unit + 13, text, "code")
            if not cut:
                draw.text(48, y + LINE * unit + 13, str(part.offset + 4 * unit), "quiet", anchor="end")
        draw.text(222 + level, y + 13, part.name, "code")
        draw.text(430, y + 13, part.value if len(part.value) < 40 else part.value[:39] + "…")  # noqa: PLR2004
        draw.words.append(f"bytes {part.offset} to {part.offset + part.size - 1}: {part.name} = {part.value}")
        y += LINE * shown + 3
    return draw


def _names() -> Programs:
    return Programs([ipc.IPCPROG_1_Server])


def _call() -> bytes:
    procedure = next(p for p in ipc.IPCPROG_1_Server.procedures if p.name == "RIPC_MSGGET")
    body = xdr.encode(
        ipc.ripc_msgget_args,
        ipc.ripc_msgget_args(
            ctx=ipc.ripc_ctx(ipc.ripc_hyper(0, 0), 0, 0, 4711), key=0x1234, flags=ipc.RIPC_CREAT, mode=0o600
        ),
    )
    core = StreamClient(first_xid=0x5EED0001, max_record=1 << 20)
    core.start(
        None,
        ipc.IPCPROG_1_Server.program,
        1,
        procedure.number,
        body,
        now=0.0,
        timeout=5.0,
        identity=Identity(AuthSys(1, "host", 1000, 100, (100, 27))),
    )
    return bytes(core.data_to_send(1 << 20))


def call() -> Drawing:
    """A call of RIPC_MSGGET, as the client core writes it."""
    data = _call()
    return message(next(explain_stream(data, _names())), data, "A call: RIPC_MSGGET with AUTH_SYS, over TCP")


def _reply(body: object, results: bytes = b"") -> bytes:
    return frame_record(xdr.encode(rpc_msg.rpc_msg, rpc_msg.rpc_msg(0x5EED0001, body)) + results)


def reply() -> Drawing:
    """Its answer."""
    accepted = rpc_msg.accepted_reply(rpc_msg.opaque_auth(0, b""), rpc_msg.reply_data_SUCCESS())
    body = rpc_msg.msg_body_REPLY(rpc_msg.reply_body_MSG_ACCEPTED(accepted))
    data = _reply(body, xdr.encode(ipc.ripc_id_res, ipc.ripc_id_res_RIPC_OK(32769)))
    found = next(explain_stream(data, _names(), call=(ipc.IPCPROG_1_Server.program, 1, 10)))
    return message(found, data, "The reply: accepted, success, and the queue's id")


def error_reply() -> Drawing:
    """The shortest way to say no: PROG_MISMATCH with the range that is served."""
    mismatch = rpc_msg.reply_data_PROG_MISMATCH(rpc_msg.mismatch_info(1, 1))
    accepted = rpc_msg.accepted_reply(rpc_msg.opaque_auth(0, b""), mismatch)
    data = _reply(rpc_msg.msg_body_REPLY(rpc_msg.reply_body_MSG_ACCEPTED(accepted)))
    return message(next(explain_stream(data, _names())), data, "A refusal: PROG_MISMATCH, versions 1 to 1")


# ---- the unions of rpc_msg.x ----------------------------------------------------------------------------------------


def reply_tree() -> Drawing:
    """From a reply down: each arm of each union, and what it holds."""
    draw = Drawing(720, "What a reply can say: the unions of rpc_msg.x")
    unions = {getattr(rpc_msg, name): name for name in ("reply_body", "reply_data", "rejected_reply")}

    def row(depth: int, label: str, note: str, kind: str) -> None:
        y, x = 6 + len(draw.words) * 28, 4 + 30 * depth
        draw.box(x, y, 706 - x, 23, kind)
        draw.text(x + 8, y + 16, label, "code")
        draw.text(698, y + 16, note, "quiet", anchor="end")
        if depth:
            draw.line([(x - 16, y - 5), (x - 16, y + 12), (x, y + 12)])
        draw.words.append(f"{label} ({note})" if note else label)

    def visit(field_name: str, kind: typing.Any, depth: int) -> None:
        if kind in unions:
            row(depth, field_name, f"union {unions[kind]}", "box inner")
            hints = [typing.get_type_hints(arm) for arm in typing.get_args(kind)]
            named: set[int] = set()
            for types in hints:
                stat = types.pop("stat")
                cases = typing.get_args(stat)
                if cases:
                    named.update(map(int, cases))
                    label = f"{type(cases[0]).__name__} {cases[0].name} ({int(cases[0])})"
                else:
                    label = ", ".join(each.name for each in stat if int(each) not in named)
                row(depth + 1, label, "nothing more" if not types else "", "box warm")
                for name, below in types.items():
                    visit(name, below, depth + 2)
        elif hasattr(kind, "__dataclass_fields__"):
            row(depth, field_name, f"struct {kind.__name__}", "box inner")
            for name, below in typing.get_type_hints(kind).items():
                visit(name, below, depth + 1)
        else:
            row(depth, field_name, getattr(kind, "__name__", str(kind)).replace("int", "unsigned int"), "box inner")

    visit("rbody", rpc_msg.reply_body, 0)
    return draw


DIAGRAMS: Final[dict[str, Callable[[], Drawing]]] = {
    "packages": packages,
    "outcomes": outcomes,
    "call": call,
    "reply": reply,
    "error-reply": error_reply,
    "reply-tree": reply_tree,
}
"""By the names that pages use."""


class Diagram(SphinxDirective):
    """One of :data:`DIAGRAMS`."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Draw it."""
        self.env.note_reread()  # any module may have changed
        name = self.arguments[0]
        draw = DIAGRAMS[name]()
        words = "".join(f"<li>{html.escape(line)}</li>" for line in draw.words)
        body = (
            f'<figure class="diagram"><div class="diagram-scroll" tabindex="0" role="region" '
            f'aria-label="{html.escape(draw.title)}">{draw.svg(name)}</div>'
            f"<figcaption>{html.escape(draw.title)}</figcaption>"
            f"<details><summary>The same in words</summary><ul>{words}</ul></details></figure>"
        )
        return [nodes.raw("", body, format="html")]


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect it."""
    app.add_directive("diagram", Diagram)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
