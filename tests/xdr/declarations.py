"""Declarations of every kind, for the tests of this folder; named as generated modules name them."""

# ruff: noqa: N801, PYI042

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, TypeAlias

from hypothesis import Phase, settings

import xdr

BRIEF: Final = settings(max_examples=10, deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate))
"""For values of all these types: what fails says where, and to make it smaller would take minutes."""


class Colour(xdr.Enum):
    RED = 0
    GREEN = 1
    BLUE = 2


class Sparse(xdr.Enum):
    LOW = -5
    NONE = 0
    HIGH = 1 << 30


@xdr.struct
class Scalars:
    a: Annotated[int, xdr.Int]
    b: Annotated[int, xdr.UInt]
    c: Annotated[int, xdr.Hyper]
    d: Annotated[int, xdr.UHyper]
    e: Annotated[float, xdr.Float]
    f: Annotated[float, xdr.Double]
    g: bool
    h: Colour
    i: Sparse
    j: xdr.Quad


@xdr.struct
class Texts:
    short: Annotated[str, xdr.String(max=16)]
    middle: Annotated[str, xdr.String(max=200)]
    long: Annotated[str, xdr.String(max=1000)]
    open: Annotated[str, xdr.String()]
    end: Annotated[int, xdr.Int]


@xdr.struct
class Bytes:
    mac: Annotated[bytes, xdr.FixedOpaque(6)]
    none: Annotated[bytes, xdr.FixedOpaque(0)]
    word: Annotated[bytes, xdr.FixedOpaque(8)]
    big: Annotated[bytes, xdr.FixedOpaque(301)]
    short: Annotated[bytes, xdr.Opaque(max=5)]
    long: Annotated[bytes, xdr.Opaque(max=70000)]
    open: Annotated[bytes, xdr.Opaque()]


@xdr.struct
class Pair:
    name: Annotated[str, xdr.String(max=8)]
    colour: Colour


@xdr.struct
class Point:
    x: Annotated[int, xdr.Int]
    y: Annotated[int, xdr.Int]


@xdr.struct
class Empty:
    pass


@xdr.struct
class Arrays:
    ints: Annotated[list[Annotated[int, xdr.Int]], xdr.Array(max=1000)]
    hypers: Annotated[list[Annotated[int, xdr.Hyper]], xdr.Array()]
    doubles: Annotated[list[Annotated[float, xdr.Double]], xdr.FixedArray(3)]
    many: Annotated[list[Annotated[int, xdr.UInt]], xdr.FixedArray(20)]
    flags: Annotated[list[bool], xdr.Array(max=40)]
    fixed_flags: Annotated[list[bool], xdr.FixedArray(17)]
    colours: Annotated[list[Colour], xdr.Array(max=40)]
    pair_of_colours: Annotated[list[Colour], xdr.FixedArray(2)]
    quads: Annotated[list[xdr.Quad], xdr.Array(max=4)]
    points: Annotated[list[Point], xdr.Array(max=100)]
    two_points: Annotated[list[Point], xdr.FixedArray(2)]
    pairs: Annotated[list[Pair], xdr.Array(max=100)]
    texts: Annotated[list[Annotated[str, xdr.String(max=9)]], xdr.Array(max=100)]
    blobs: Annotated[list[Annotated[bytes, xdr.FixedOpaque(3)]], xdr.FixedArray(3)]
    grid: Annotated[list[Annotated[list[Annotated[int, xdr.Int]], xdr.Array(max=3)]], xdr.Array(max=3)]
    nothing: Annotated[list[Annotated[int, xdr.Int]], xdr.FixedArray(0)]
    empties: Annotated[list[Empty], xdr.Array()]
    maybes: Annotated[list[Point | None], xdr.Array(max=5)]


@xdr.struct
class Node:
    value: Annotated[int, xdr.Int]
    name: Annotated[str, xdr.String(max=20)]
    next: Node | None


@xdr.struct
class Tree:
    label: Annotated[int, xdr.Int]
    left: Tree | None
    right: Tree | None
    more: Annotated[list[Tree], xdr.Array(max=3)]


@xdr.struct
class Ping:
    pong: Pong | None
    value: Annotated[int, xdr.Int]


@xdr.struct
class Pong:
    value: Annotated[int, xdr.Int]
    ping: Ping | None


RED: Final = Colour.RED
GREEN: Final = Colour.GREEN


@xdr.arm("Choice", "colour", Colour, cases=(RED,))
class Choice_RED:
    number: Annotated[int, xdr.Int]
    colour: Literal[Colour.RED] = RED


@xdr.arm("Choice", "colour", Colour, cases=(GREEN,))
class Choice_GREEN:
    colour: Literal[Colour.GREEN] = GREEN


@xdr.arm("Choice", "colour", Colour, default=True)
class Choice_default:
    colour: Colour
    text: Annotated[str, xdr.String(max=12)]


Choice: TypeAlias = Choice_RED | Choice_GREEN | Choice_default


@xdr.arm("Switch", "on", bool, cases=(True,))
class Switch_TRUE:
    level: Annotated[int, xdr.UInt]
    on: Literal[True] = True


@xdr.arm("Switch", "on", bool, cases=(False,))
class Switch_FALSE:
    on: Literal[False] = False


Switch: TypeAlias = Switch_TRUE | Switch_FALSE


@xdr.arm("Number", "which", xdr.Int, cases=(-1, 2))
class Number_some:
    which: Annotated[int, xdr.Int]
    value: Annotated[float, xdr.Double]


@xdr.arm("Number", "which", xdr.Int, default=True)
class Number_default:
    which: Annotated[int, xdr.Int]


Number: TypeAlias = Number_some | Number_default


@xdr.arm("Only", "which", xdr.UInt, cases=(4000000000,))
class Only_4000000000:
    which: Literal[4000000000] = 4000000000


Only: TypeAlias = Only_4000000000


def many_arms(default: bool) -> Any:
    """Return a union of so many arms that they are chosen by a dict."""
    arms: list[Any] = []
    for number in range(9):
        body = {"__annotations__": {"which": Annotated[int, xdr.UInt], "value": Annotated[int, xdr.Int]}}
        cls = type(f"Many_{number}", (), {**body, "__module__": __name__})
        arms.append(xdr.arm("Many", "which", xdr.UInt, cases=(number,))(cls))
    if default:
        body = {"__annotations__": {"which": Annotated[int, xdr.UInt]}}
        cls = type("Many_default", (), {**body, "__module__": __name__})
        arms.append(xdr.arm("Many", "which", xdr.UInt, default=True)(cls))
    union = arms[0]
    for arm in arms[1:]:
        union = union | arm
    return union


Many: Any = many_arms(default=False)
ManyDefault: Any = many_arms(default=True)


@xdr.struct
class Unions:
    choice: Choice
    switch: Switch
    number: Number
    only: Only
    many: Many
    other: ManyDefault
    maybe: Choice | None
    list: Annotated[list[Switch], xdr.Array(max=4)]


nodes: TypeAlias = "Node | None"
alias: TypeAlias = "nodes"
names: TypeAlias = Annotated[list[Annotated[str, xdr.String(max=8)]], xdr.Array(max=4)]


@xdr.struct
class Everything:
    scalars: Scalars
    texts: Texts
    bytes: Bytes
    arrays: Arrays
    unions: Unions
    nodes: alias
    names: names
    tree: Tree | None
    ping: Ping
    void: None
    maybe: Scalars | None


EVERY: Final[tuple[Any, ...]] = (
    Scalars,
    Texts,
    Bytes,
    Pair,
    Point,
    Empty,
    Arrays,
    Node,
    Tree,
    Ping,
    Pong,
    Choice,
    Switch,
    Number,
    Only,
    Many,
    ManyDefault,
    Unions,
    Everything,
    Node | None,
    Colour,
    Sparse,
    bool,
    None,
    xdr.Quad,
    Annotated[int, xdr.Int],
    Annotated[int, xdr.UHyper],
    Annotated[str, xdr.String(max=300)],
    Annotated[bytes, xdr.Opaque(max=3)],
    names,
)
