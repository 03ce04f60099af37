"""Data taken apart: every item once, in the order of the bytes, and up to the fault."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given

import xdr
from tests.xdr import declarations as d
from xdr import source, tree
from xdr.testing import values


@pytest.mark.parametrize("annotation", d.EVERY, ids=str)
def test_the_items_are_all_the_bytes_once_and_in_order(annotation: Any) -> None:
    @d.BRIEF
    @given(values(annotation, max_elements=3))
    def check(value: Any) -> None:
        data = xdr.encode(annotation, value)
        at = 0
        for item in tree.walk(annotation, data):
            assert item.offset == at
            assert data[at:].startswith(item.data)
            at += len(item.data)
        assert at == len(data)

    check()


def test_a_tree_reads_well() -> None:
    data = xdr.encode(d.Pair, d.Pair("abc", d.GREEN))
    assert list(tree.render(tree.walk(d.Pair, data))) == [
        "     0                                         Pair: Pair, struct",
        "     0  00000003 61626300                        name: string<8> = 'abc'",
        "     8  00000001                                 colour: Colour = GREEN (1)",
    ]
    value = d.Node(1, "a", d.Node(2, "b", None))
    lines = list(tree.render(tree.walk(d.Node | None, xdr.encode(d.Node | None, value))))
    assert [line[8:46].strip() + "|" + line[47:].strip() for line in lines] == [
        "00000001|Node: Node *, present",
        "|Node: Node, struct",
        "00000001|value: int = 1",
        "00000001 61000000|name: string<20> = 'a'",
        "00000001|next: Node *, present",
        "|Node[1]: Node, struct",
        "00000002|value: int = 2",
        "00000001 62000000|name: string<20> = 'b'",
        "00000000|next: Node *, absent",
    ]


def test_long_items_are_cut() -> None:
    data = xdr.encode(d.Bytes, d.Bytes(b"abcdef", b"", b"12345678", b"x" * 301, b"", b"", b""))
    assert max(map(len, tree.render(tree.walk(d.Bytes, data)))) < 140


@pytest.mark.parametrize(
    ("annotation", "data", "names", "error"),
    [
        (d.Pair, "000000016100000000000009", ["Pair", "name"], "Pair.colour: 9 is no Colour, at byte 8"),
        (d.Pair, "0000000161", ["Pair"], "Pair.name: 1 byte announced, 1 left, at byte 0"),
        (d.Point, "0000000100000002ff", ["Point", "x", "y"], "Point: 1 byte more than the value takes, at byte 8"),
        (d.Only, "00000001", ["Only"], "Only.which: 1 is no case of Only, at byte 0"),
        (d.names, "00000005", [], "string<8><4>: 5 elements announced, 4 allowed, at byte 0"),
        (d.names, "0000000100000009", ["string<8><4>"], "string<8><4>[0]: 9 bytes announced, 8 allowed, at byte 4"),
    ],
)
def test_what_is_in_order_comes_before_the_error(annotation: Any, data: str, names: list[str], error: str) -> None:
    seen: list[str] = []
    with pytest.raises(xdr.XDRDecodeError) as caught:
        seen.extend(item.name for item in tree.walk(annotation, bytes.fromhex(data)))
    # A generator that raised inside of extend() leaves what it gave.
    assert seen == names
    assert str(caught.value) == error
    with pytest.raises(xdr.XDRDecodeError) as caught:
        xdr.decode(annotation, bytes.fromhex(data))
    assert str(caught.value) == error


def test_lenient_padding_is_lenient_here_too() -> None:
    items = list(tree.walk(d.Pair, bytes.fromhex("000000016100000100000001"), lenient_padding=True))
    assert items[1].value == "a"


def test_depth_is_limited_as_in_decoding() -> None:
    value = None
    for _ in range(130):
        value = d.Tree(0, value, None, [])
    data = xdr.codec(d.Tree).encode(value, max_depth=129)  # type: ignore[arg-type]
    with pytest.raises(xdr.XDRDecodeError, match="nested more than 128 levels deep") as caught:
        list(tree.walk(d.Tree, data))
    with pytest.raises(xdr.XDRDecodeError) as other:
        xdr.decode(d.Tree, data)
    assert str(caught.value) == str(other.value)
    assert len(list(tree.walk(d.Tree, data, max_depth=129))) > 500


def test_a_long_list_is_walked_without_recursion() -> None:
    node = None
    for number in range(20_000):
        node = d.Node(number, "", node)
    assert sum(item.whole for item in tree.walk(xdr.codec(d.Node), xdr.encode(d.Node, node))) == 40_000


def test_walking_again_writes_no_functions_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Found by fuzzing: each flag of each optional had its own decoding function."""
    data = xdr.encode(d.Node | None, d.Node(1, "a", d.Node(2, "b", None)))
    first = list(tree.walk(d.Node | None, data))
    monkeypatch.setattr(source.Source, "function", None)
    assert list(tree.walk(d.Node | None, data)) == first
