"""Bytes from real rpcgen and libtirpc, in C, for every type that they know (all but quadruple)."""

# ruff: noqa: N801, PYI042 - the names of oracle.x

from __future__ import annotations

import struct
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import xdr
from tests import peers
from tests.xdr import declarations as d
from xdr.testing import values

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent


class kind(xdr.Enum):
    KIND_FILE = 0
    KIND_DIR = 1
    KIND_ODD = -7


name: TypeAlias = Annotated[str, xdr.String(max=16)]
Int: TypeAlias = Annotated[int, xdr.Int]


@xdr.struct
class scalars:
    a: Int
    b: Annotated[int, xdr.UInt]
    c: Annotated[int, xdr.Hyper]
    d: Annotated[int, xdr.UHyper]
    e: Annotated[float, xdr.Float]
    f: Annotated[float, xdr.Double]
    g: bool
    h: kind
    i: Int
    j: Annotated[int, xdr.UInt]


@xdr.struct
class data:
    fixed: Annotated[bytes, xdr.FixedOpaque(6)]
    variable: Annotated[bytes, xdr.Opaque(max=600)]
    text: name
    open: Annotated[str, xdr.String()]


@xdr.struct
class point:
    x: Int
    y: Int


@xdr.struct
class arrays:
    grid: Annotated[list[Int], xdr.FixedArray(3)]
    many: Annotated[list[Int], xdr.Array(max=1000)]
    points: Annotated[list[point], xdr.Array(max=10)]
    names: Annotated[list[name], xdr.Array(max=5)]
    doubles: Annotated[list[Annotated[float, xdr.Double]], xdr.Array()]
    kinds: Annotated[list[kind], xdr.FixedArray(2)]
    flags: Annotated[list[bool], xdr.Array(max=9)]


@xdr.arm("choice", "which", kind, cases=(kind.KIND_FILE,))
class choice_FILE:
    place: point
    which: Literal[kind.KIND_FILE] = kind.KIND_FILE


@xdr.arm("choice", "which", kind, cases=(kind.KIND_DIR,))
class choice_DIR:
    which: Literal[kind.KIND_DIR] = kind.KIND_DIR


@xdr.arm("choice", "which", kind, default=True)
class choice_default:
    which: kind
    other: name


choice: TypeAlias = choice_FILE | choice_DIR | choice_default


@xdr.arm("answer", "ok", bool, cases=(True,))
class answer_TRUE:
    value: Annotated[int, xdr.Hyper]
    ok: Literal[True] = True


@xdr.arm("answer", "ok", bool, cases=(False,))
class answer_FALSE:
    ok: Literal[False] = False


answer: TypeAlias = answer_TRUE | answer_FALSE


@xdr.arm("number", "n", xdr.Int, cases=(1, 2))
class number_some:
    n: Int
    small: Annotated[int, xdr.UInt]


@xdr.arm("number", "n", xdr.Int, default=True)
class number_default:
    n: Int


number: TypeAlias = number_some | number_default


@xdr.struct
class node:
    value: Int
    what: choice
    next: node | None


@xdr.struct
class tree:
    label: Int
    left: tree | None
    right: tree | None


@xdr.struct
class everything:
    s: scalars
    d: data
    a: arrays
    c: choice
    w: answer
    n: number
    list: node | None
    t: tree | None
    maybe: point | None


TYPES: list[Any] = [scalars, data, arrays, choice, answer, number, node | None, tree, everything]


class Oracle:
    """The C program, asked over its standard input."""

    def __init__(self, program: Path) -> None:
        self._process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def ask(self, number: int, wire: bytes = b"") -> tuple[bool, int, bytes]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(struct.pack("=II", number, len(wire)) + wire)
        self._process.stdin.flush()
        good, position, size = struct.unpack("=III", self._process.stdout.read(12))
        return bool(good), position, self._process.stdout.read(size)

    def close(self) -> None:
        self._process.communicate()


@pytest.fixture(scope="module")
def oracle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Oracle]:
    directory = tmp_path_factory.mktemp("oracle")
    asked = Oracle(peers.compile_rpc_client(directory, HERE / "oracle.x", [HERE / "oracle.c"], "oracle"))
    yield asked
    asked.close()


def fit_for_c(value: Any) -> bool:
    """Whether C can hold it: its strings end at a NUL, its shorts and chars are 16 and 8 bits."""
    return all("\0" not in text for text in texts(value))


def texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from texts(item)
    elif hasattr(value, "__match_args__"):
        for field in value.__match_args__:
            yield from texts(getattr(value, field))


def narrow(value: Any) -> Any:
    """Make a value's short and unsigned char fit."""
    found = value.s if isinstance(value, everything) else value
    if isinstance(found, scalars):
        found.i = (found.i & 0xFFFF) - 0x8000
        found.j &= 0xFF
    return value


@pytest.mark.parametrize("index", range(len(TYPES)), ids=lambda index: str(TYPES[index]))
def test_libtirpc_decodes_our_bytes_and_encodes_the_same(oracle: Oracle, index: int) -> None:
    codec = xdr.codec(TYPES[index])

    @settings(d.BRIEF, max_examples=40)
    @given(values(TYPES[index], max_bytes=300).map(narrow).filter(fit_for_c))
    def check(value: Any) -> None:
        wire = codec.encode(value)
        assert oracle.ask(index, wire) == (True, len(wire), wire)

    check()


def test_a_value_made_in_c_decodes_to_the_same_value_here(oracle: Oracle) -> None:
    good, _position, wire = oracle.ask(100)
    assert good
    expected = everything(
        s=scalars(-1, 4000000000, -5000000000, 18000000000000000000, 1.5, -2.25, True, kind.KIND_ODD, -300, 200),
        d=data(bytes(range(1, 7)), b"abcde", "text", "longer text"),
        a=arrays(
            [1, -2, 3],
            [7, -8],
            [point(1, 2), point(-3, -4)],
            ["one", "", "three"],
            [-0.5],
            [kind.KIND_DIR, kind.KIND_ODD],
            [True, False],
        ),
        c=choice_default(kind.KIND_ODD, "odd"),
        w=answer_TRUE(-6),
        n=number_some(2, 5),
        list=node(1, choice_FILE(point(5, 6)), node(2, choice_DIR(), None)),
        t=tree(8, None, tree(9, None, None)),
        maybe=point(-3, -4),
    )
    assert xdr.decode(everything, wire) == expected
    assert xdr.encode(everything, expected) == wire


@pytest.mark.parametrize("index", range(len(TYPES)), ids=lambda index: str(TYPES[index]))
def test_whatever_we_accept_libtirpc_accepts(oracle: Oracle, index: int) -> None:
    codec = xdr.codec(TYPES[index])

    @settings(d.BRIEF, max_examples=40)
    @given(values(TYPES[index], max_bytes=20).map(narrow), st.data())
    def check(value: Any, draw: st.DataObject) -> None:
        wire = bytearray(codec.encode(value))
        at = draw.draw(st.integers(0, len(wire) - 1)) if wire else 0
        wire[at : at + 1] = bytes([draw.draw(st.integers(0, 3))])
        try:
            again = codec.decode(wire)
        except xdr.XDRDecodeError:
            return
        if fit_for_c(again) and fit_for_c(narrow(again)) and codec.encode(again) == bytes(wire):
            assert oracle.ask(index, bytes(wire))[:2] == (True, len(wire))

    check()
