"""Time our codecs beside xdrlib3 and beside ``struct`` fused by hand, in one run.

    python benchmarks/xdr_codecs.py [--rounds 25] [--shape NAME]

The shapes: ``mixed``, a struct of eight ints, hypers and bools; ``strop``, a string, an opaque and an int; ``ints``,
1,000 ints; ``entries``, 100 structs of a string, a hyper and an enum; ``list``, the same as a linked list; ``authsys``,
the body of an AUTH_SYS credential.

``xdrlib3`` is the code one writes with it: tuples, bytes for strings, and no checks but its own. ``struct by hand`` is
as fast as the author could make the shape with precompiled ``struct.Struct`` objects: tuples and bytes again, and no
checks at all. ``xdr`` makes objects with fields, text and enum members, and checks bounds, padding, bools, enums and
the end of the data. The rounds of all are interleaved, so that a slow spell of the machine hits all alike; figures are
the best of all rounds, in microseconds of processor time, since whatever else a machine does can only add to them.
"""

from __future__ import annotations

import argparse
import platform
import time
import timeit
from struct import Struct
from typing import TYPE_CHECKING, Annotated, Any

import xdrlib3

import xdr

if TYPE_CHECKING:
    from collections.abc import Callable

MIXED = (-1, 2, -3000000000, 4000000000, True, -6, False, 8)
STROP = (b"0123456789abcdef0123456789abcdef", bytes(range(256)), 7)
INTS = [number - 500 for number in range(1000)]
ENTRIES = [(b"file-name-number"[: 1 + number % 16], number << 30, number % 3) for number in range(100)]
AUTHSYS = (12345, b"host.example", 1000, 1000, [1, 2, 3, 4, 5])
VALUES: dict[str, Any] = {
    "mixed": MIXED,
    "strop": STROP,
    "ints": INTS,
    "entries": ENTRIES,
    "list": ENTRIES,
    "authsys": AUTHSYS,
}
GOALS = {"mixed": 6.0, "ints": 10.0, "entries": 4.0}
"""Times as fast as xdrlib3."""
GOAL_BY_HAND = 2.5
"""Times as slow as struct by hand."""

Coder = tuple["Callable[[Any], bytes]", "Callable[[bytes], Any]", Any]


# --- ours -------------------------------------------------------------------------------------------------------------


class Kind(xdr.Enum):
    """What an entry is."""

    FILE = 0
    DIR = 1
    LINK = 2


@xdr.struct
class Mixed:
    """Scalars."""

    a: Annotated[int, xdr.Int]
    b: Annotated[int, xdr.UInt]
    c: Annotated[int, xdr.Hyper]
    d: Annotated[int, xdr.UHyper]
    e: bool
    f: Annotated[int, xdr.Int]
    g: bool
    h: Annotated[int, xdr.Hyper]


@xdr.struct
class Strop:
    """A string and an opaque."""

    name: Annotated[str, xdr.String(max=32)]
    data: Annotated[bytes, xdr.Opaque(max=256)]
    n: Annotated[int, xdr.Int]


@xdr.struct
class Entry:
    """One of many."""

    name: Annotated[str, xdr.String(max=16)]
    size: Annotated[int, xdr.UHyper]
    type: Kind


@xdr.struct
class Node:
    """One of a list."""

    entry: Entry
    next: Node | None


@xdr.struct
class AuthSys:
    """A credential."""

    stamp: Annotated[int, xdr.UInt]
    machinename: Annotated[str, xdr.String(max=255)]
    uid: Annotated[int, xdr.UInt]
    gid: Annotated[int, xdr.UInt]
    gids: Annotated[list[Annotated[int, xdr.UInt]], xdr.Array(max=16)]


def ours() -> dict[str, Coder]:
    """Return our codecs with values of their types."""
    entries = [Entry(name.decode(), size, Kind(kind)) for name, size, kind in ENTRIES]
    nodes: Node | None = None
    for entry in reversed(entries):
        nodes = Node(entry, nodes)
    stamp, machinename, uid, gid, gids = AUTHSYS
    typed: dict[str, tuple[Any, Any]] = {
        "mixed": (Mixed, Mixed(*MIXED)),
        "strop": (Strop, Strop(STROP[0].decode(), STROP[1], STROP[2])),
        "ints": (Annotated[list[Annotated[int, xdr.Int]], xdr.Array(max=1000)], INTS),
        "entries": (Annotated[list[Entry], xdr.Array(max=100)], entries),
        "list": (Node | None, nodes),
        "authsys": (AuthSys, AuthSys(stamp, machinename.decode(), uid, gid, gids)),
    }
    coders: dict[str, Coder] = {}
    for name, (annotation, value) in typed.items():
        codec = xdr.codec(annotation)
        codec.decode(codec.encode(value))  # the functions replace the methods at first use
        coders[name] = (codec.encode, codec.decode, value)
    return coders


# --- xdrlib3 ----------------------------------------------------------------------------------------------------------


def by_xdrlib3() -> dict[str, Coder]:
    """Return what one writes with xdrlib3."""

    def coder(pack: Callable[[Any, Any], None], unpack: Callable[[Any], Any], value: object) -> Coder:
        def encode(value: object) -> bytes:
            packer = xdrlib3.Packer()
            pack(packer, value)
            return packer.get_buffer()

        def decode(data: bytes) -> object:
            unpacker = xdrlib3.Unpacker(data)
            value = unpack(unpacker)
            unpacker.done()
            return value

        return encode, decode, value

    def pack_mixed(p: Any, value: Any) -> None:
        a, b, c, d, e, f, g, h = value
        p.pack_int(a)
        p.pack_uint(b)
        p.pack_hyper(c)
        p.pack_uhyper(d)
        p.pack_bool(e)
        p.pack_int(f)
        p.pack_bool(g)
        p.pack_hyper(h)

    def unpack_mixed(u: Any) -> object:
        return (
            u.unpack_int(),
            u.unpack_uint(),
            u.unpack_hyper(),
            u.unpack_uhyper(),
            u.unpack_bool(),
            u.unpack_int(),
            u.unpack_bool(),
            u.unpack_hyper(),
        )

    def pack_strop(p: Any, value: Any) -> None:
        name, data, n = value
        p.pack_string(name)
        p.pack_opaque(data)
        p.pack_int(n)

    def pack_entry(p: Any, value: Any) -> None:
        name, size, kind = value
        p.pack_string(name)
        p.pack_uhyper(size)
        p.pack_enum(kind)

    def unpack_entry(u: Any) -> object:
        return u.unpack_string(), u.unpack_uhyper(), u.unpack_enum()

    def pack_authsys(p: Any, value: Any) -> None:
        stamp, machinename, uid, gid, gids = value
        p.pack_uint(stamp)
        p.pack_string(machinename)
        p.pack_uint(uid)
        p.pack_uint(gid)
        p.pack_array(gids, p.pack_uint)

    def unpack_authsys(u: Any) -> object:
        return u.unpack_uint(), u.unpack_string(), u.unpack_uint(), u.unpack_uint(), u.unpack_array(u.unpack_uint)

    return {
        "mixed": coder(pack_mixed, unpack_mixed, MIXED),
        "strop": coder(pack_strop, lambda u: (u.unpack_string(), u.unpack_opaque(), u.unpack_int()), STROP),
        "ints": coder(lambda p, v: p.pack_array(v, p.pack_int), lambda u: u.unpack_array(u.unpack_int), INTS),
        "entries": coder(
            lambda p, v: p.pack_array(v, lambda e: pack_entry(p, e)),
            lambda u: u.unpack_array(lambda: unpack_entry(u)),
            ENTRIES,
        ),
        "list": coder(
            lambda p, v: p.pack_list(v, lambda e: pack_entry(p, e)),
            lambda u: u.unpack_list(lambda: unpack_entry(u)),
            ENTRIES,
        ),
        "authsys": coder(pack_authsys, unpack_authsys, AUTHSYS),
    }


# --- struct by hand ---------------------------------------------------------------------------------------------------


def by_hand() -> dict[str, Coder]:
    """Return each shape as fast as ``struct`` allows: no object, no text, no check."""
    mixed, word, words, triple = Struct(">iIqQIiIq"), Struct(">I"), Struct(">II"), Struct(">III")
    arrays = [Struct(f">{count}i") for count in range(1001)]
    pads = (b"", b"\0\0\0", b"\0\0", b"\0")
    entry = [Struct(f">I{size}s{-size & 3}xQI") for size in range(17)]
    node = [Struct(f">II{size}s{-size & 3}xQI") for size in range(17)]

    def encode_strop(value: Any) -> bytes:
        name, data, n = value
        m, k = len(name), len(data)
        return b"".join((word.pack(m), name, pads[m & 3], word.pack(k), data, pads[k & 3], word.pack(n)))

    def decode_strop(data: bytes) -> object:
        m = word.unpack_from(data)[0]
        at = 4 + (m + 3 & ~3)
        k = word.unpack_from(data, at)[0]
        return data[4 : 4 + m], data[at + 4 : at + 4 + k], word.unpack_from(data, at + 4 + (k + 3 & ~3))[0]

    def encode_ints(value: Any) -> bytes:
        count = len(value)
        return word.pack(count) + arrays[count].pack(*value)

    def decode_ints(data: bytes) -> object:
        return list(arrays[word.unpack_from(data)[0]].unpack_from(data, 4))

    def encode_entries(value: Any) -> bytes:
        parts = [word.pack(len(value))]
        add = parts.append
        for name, size, kind in value:
            m = len(name)
            add(entry[m].pack(m, name, size, kind))
        return b"".join(parts)

    def decode_entries(data: bytes) -> object:
        at = 4
        out: list[Any] = []
        add = out.append
        for _ in range(word.unpack_from(data)[0]):
            m = data[at + 3]
            one = entry[m]
            add(one.unpack_from(data, at)[1:])
            at += one.size
        return out

    def encode_list(value: Any) -> bytes:
        parts: list[bytes] = []
        add = parts.append
        for name, size, kind in value:
            m = len(name)
            add(node[m].pack(1, m, name, size, kind))
        add(b"\0\0\0\0")
        return b"".join(parts)

    def decode_list(data: bytes) -> object:
        at = 0
        out: list[Any] = []
        add = out.append
        while data[at + 3]:
            one = node[data[at + 7]]
            add(one.unpack_from(data, at)[2:])
            at += one.size
        return out

    def encode_authsys(value: Any) -> bytes:
        stamp, name, uid, gid, gids = value
        m, count = len(name), len(gids)
        head, middle = words.pack(stamp, m), triple.pack(uid, gid, count)
        return b"".join((head, name, pads[m & 3], middle, arrays[count].pack(*gids)))

    def decode_authsys(data: bytes) -> object:
        stamp, m = words.unpack_from(data)
        at = 8 + (m + 3 & ~3)
        uid, gid, count = triple.unpack_from(data, at)
        return stamp, data[8 : 8 + m], uid, gid, list(arrays[count].unpack_from(data, at + 12))

    return {
        "mixed": (lambda value: mixed.pack(*value), mixed.unpack, MIXED),
        "strop": (encode_strop, decode_strop, STROP),
        "ints": (encode_ints, decode_ints, INTS),
        "entries": (encode_entries, decode_entries, ENTRIES),
        "list": (encode_list, decode_list, ENTRIES),
        "authsys": (encode_authsys, decode_authsys, AUTHSYS),
    }


# --- timing -----------------------------------------------------------------------------------------------------------


class Timing:
    """Times one function again and again.

    Args:
        function: What is timed.
        argument: What it is called with.
    """

    def __init__(self, function: Callable[[Any], object], argument: object) -> None:
        self._timer = timeit.Timer("f(x)", timer=time.process_time, globals={"f": function, "x": argument})
        self._loops = 1
        while self._timer.timeit(self._loops) < 0.01:  # noqa: PLR2004 - seconds; short enough to fit between disturbances
            self._loops *= 2
        self._took: list[float] = []

    def once(self) -> None:
        """Take one more measure."""
        self._took.append(self._timer.timeit(self._loops) / self._loops * 1e6)

    def best(self) -> float:
        """Return microseconds for one call."""
        return min(self._took)


def main() -> None:
    """Time all, print a table and whether the goals are met."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--shape", choices=list(VALUES), action="append")
    options = parser.parse_args()
    coders = {"xdrlib3": by_xdrlib3(), "struct by hand": by_hand(), "xdr": ours()}
    timings: dict[tuple[str, str, int], Timing] = {}
    shapes = options.shape or list(VALUES)
    for shape in shapes:
        wire = coders["struct by hand"][shape][0](VALUES[shape])
        for name, coder in coders.items():
            encode, decode, value = coder[shape]
            if encode(value) != wire or decode(wire) != value:
                message = f"{name} and struct by hand differ on {shape}"
                raise SystemExit(message)
            timings[name, shape, 0] = Timing(encode, value)
            timings[name, shape, 1] = Timing(decode, wire)
    for _ in range(options.rounds):
        for timing in timings.values():
            timing.once()
    took = {key: timing.best() for key, timing in timings.items()}
    print(f"Python {platform.python_version()}, encode / decode, microseconds, best of {options.rounds} rounds\n")
    print(f"{'shape':9}{'xdrlib3':>18}{'struct by hand':>18}{'xdr':>18}{'x xdrlib3':>15}{'/ by hand':>15}")
    met = True
    for shape in shapes:
        pairs = {name: [took[name, shape, way] for way in (0, 1)] for name in coders}
        faster = [old / new for old, new in zip(pairs["xdrlib3"], pairs["xdr"], strict=True)]
        slower = [new / hand for new, hand in zip(pairs["xdr"], pairs["struct by hand"], strict=True)]
        cells = ["{:.2f} / {:.2f}".format(*pair) for pair in pairs.values()]
        print(f"{shape:9}{cells[0]:>18}{cells[1]:>18}{cells[2]:>18}", end="")
        print("{:>15}{:>15}".format("{:.1f} / {:.1f}".format(*faster), "{:.2f} / {:.2f}".format(*slower)))
        met = met and min(faster) >= GOALS.get(shape, 0) and max(slower) <= GOAL_BY_HAND
    print("\nThe goals are met." if met else "\nThe goals are missed.")


if __name__ == "__main__":
    main()
