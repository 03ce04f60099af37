"""A message taken apart for people: every field with its place, its value and one sentence on what it is for.

Pure: bytes in, parts out. What is wrong with a message is a part too, behind all that was in order, so that somebody
who looks for the cause of GARBAGE_ARGS sees just where the decoder stopped.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, NoReturn, Protocol

from oncrpc.errors import AcceptStat, AuthStat, RejectStat
from xdr import XDRDecodeError, codec
from xdr.tree import walk

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from oncrpc.program import Procedure, Program
    from xdr.tree import Item

__all__ = ["Declared", "Explanation", "Part", "Programs", "explain_message", "explain_stream"]

_CALL: Final = 0
_REPLY: Final = 1
_LAST_FRAGMENT: Final = 0x80000000
_FLAVORS: Final = {0: "AUTH_NONE", 1: "AUTH_SYS", 2: "AUTH_SHORT", 3: "AUTH_DH", 6: "RPCSEC_GSS", 7: "AUTH_TLS"}
_AUTH_SYS: Final = 1
_MAX_AUTH_BODY: Final = 400
_MAX_PARTS: Final = 5_000
"""Parts of one message that are shown: more help nobody, and an array of a million is a million rows."""
_SHOWN: Final = 96
"""Characters of a value that are shown."""


@dataclass(frozen=True, slots=True)
class Part:
    """One field, or a heading above several.

    Attributes:
        level: How deep it lies, 0 outermost.
        name: Its name in the RFC or the ``.x`` file.
        offset: Its first byte, from the beginning of what was explained.
        size: Its bytes; 0 for a heading.
        value: What it says, as text; "" for a heading.
        sentence: What it is for.
        section: Where that is written, for example "RFC 5531, 9".
        fault: Whether this is where the message is wrong.
    """

    level: int
    name: str
    offset: int
    size: int
    value: str
    sentence: str = ""
    section: str = ""
    fault: bool = False


@dataclass(slots=True)
class Explanation:
    """A message, explained.

    Attributes:
        parts: In the order of the bytes.
        kind: "CALL", "REPLY", or "" if it is neither.
        xid: Its transaction id; None if there is none.
        program: Program number; for replies that of the call, 0 if it is not known.
        version: Likewise.
        procedure: Likewise.
        title: One line for a list: what is called, or what the answer was.
        fault: What is wrong; "" if nothing is.
    """

    parts: list[Part] = field(default_factory=list)
    kind: str = ""
    xid: int | None = None
    program: int = 0
    version: int = 0
    procedure: int = 0
    title: str = ""
    fault: str = ""


class Declared(Protocol):
    """One version of a program, however it became known."""

    @property
    def program(self) -> int:
        """Program number."""

    @property
    def program_name(self) -> str:
        """Its name in the ``.x`` file."""

    @property
    def version(self) -> int:
        """Version number."""

    @property
    def procedures(self) -> tuple[Procedure, ...]:
        """Its procedures."""


class Programs:
    """Which programs can be told by name.

    Args:
        programs: Generated server classes, objects of them, or compiled ``.x`` files' versions.
    """

    def __init__(self, programs: Iterable[type[Program] | Declared] = ()) -> None:
        self._procedures: dict[tuple[int, int, int], Procedure] = {}
        self._names: dict[tuple[int, int], str] = {}
        self._any: dict[int, str] = {}
        for program in programs:
            self.add(program)

    def add(self, program: type[Program] | Declared) -> None:
        """Know one more version of a program."""
        self._names[program.program, program.version] = program.program_name
        self._any.setdefault(program.program, program.program_name)
        for procedure in program.procedures:
            self._procedures[program.program, program.version, procedure.number] = procedure

    def knows(self, program: int, version: int) -> bool:
        """Return whether a version of a program was added."""
        return (program, version) in self._names

    def calls(self) -> list[str]:
        """Return every known procedure as ``PROG.VERS.PROC``, which number() reads."""
        rows = sorted(
            (self.name(program, version), version, number, each.name)
            for (program, version, number), each in self._procedures.items()
        )
        return [f"{program}.{version}.{name}" for program, version, _, name in rows]

    def name(self, program: int, version: int) -> str:
        """Return a program's name, or its number as text.

        Versions may have names of their own: 100000 is PMAP_PROG in version 2, RPCBPROG in 3 and 4 (RFC 1833). One that
        is not known is called as the first that was added.
        """
        return self._names.get((program, version)) or self._any.get(program) or str(program)

    def number(self, text: str) -> tuple[int, int, int]:
        """Return the three numbers of ``PROG.VERS.PROC``; PROG and PROC may be names, in any case.

        Raises:
            ValueError: It does not have three parts, or a name is not known.
        """
        program, version, procedure, *more = [*text.split("."), "", ""]
        if len(more) != 2 or not version.isdigit() or not procedure:  # noqa: PLR2004 - the two added above
            message = f"{text!r} is not PROG.VERS.PROC, for example 100000.2.3"
            raise ValueError(message)
        names = {name.lower(): number for (number, _), name in self._names.items()}
        found = names[program.lower()] if program.lower() in names else _number(program, "program")
        known = {
            each.name.lower(): number
            for (of, at, number), each in self._procedures.items()
            if (of, at) == (found, int(version))
        }
        lower = procedure.lower()
        return found, int(version), known[lower] if lower in known else _number(procedure, "procedure")

    def procedure(self, program: int, version: int, procedure: int) -> Procedure | None:
        """Return a procedure, if it is known."""
        return self._procedures.get((program, version, procedure))

    def procedure_name(self, program: int, version: int, procedure: int) -> str:
        """Return a procedure's name; NULL for number 0 of what is not known."""
        known = self.procedure(program, version, procedure)
        if known is not None:
            return known.name
        return "NULL" if procedure == 0 else f"procedure {procedure}"


def _number(text: str, what: str) -> int:
    """Read a number.

    Raises:
        ValueError: It is none.
    """
    try:
        return int(text, 0)
    except ValueError:
        message = f"{text!r} is neither a number nor the name of a {what} known here"
        raise ValueError(message) from None


class _Cut(Exception):
    """The message ends, or contradicts itself, here."""


class _Reader:
    """Takes fields from bytes and notes each as a part."""

    def __init__(self, data: bytes, base: int, out: Explanation) -> None:
        self.data = data
        self.base = base
        self.at = 0
        self.out = out
        self.level = 0

    def heading(self, name: str, sentence: str = "", section: str = "", value: str = "") -> None:
        """Note a heading; what follows lies one level deeper until the caller says otherwise."""
        self._note(Part(self.level, name, self.base + self.at, 0, value, sentence, section))

    def word(self, name: str, sentence: str, section: str, names: Mapping[int, str] | None = None) -> int:
        """Take an unsigned integer.

        Raises:
            _Cut: There are no four bytes left.
        """
        if len(self.data) - self.at < 4:  # noqa: PLR2004 - an XDR unit
            self.fail(f"{name}: {len(self.data) - self.at} bytes are left of the 4 that it takes")
        value = int.from_bytes(self.data[self.at : self.at + 4], "big")
        text = str(value) if names is None else f"{names.get(value, 'unknown')} ({value})"
        if names is None and value > 0xFFFF:  # noqa: PLR2004 - a number that people know in hexadecimal
            text = f"{value} (0x{value:08x})"
        self._note(Part(self.level, name, self.base + self.at, 4, text, sentence, section))
        self.at += 4
        return value

    def opaque(self, name: str, size: int, sentence: str, section: str, *, text: bool = False) -> bytes:
        """Take so many bytes, and their padding.

        Raises:
            _Cut: They are not all there.
        """
        if size > len(self.data) - self.at:
            self.fail(f"{name}: {size} bytes announced, {len(self.data) - self.at} are left")
        found = self.data[self.at : self.at + size]
        if size:
            shown = found.decode("utf-8", "replace") if text else found.hex(" ", 4)
            self._note(Part(self.level, name, self.base + self.at, size, _short(shown), sentence, section))
        self.at += size
        pad = min(-size % 4, len(self.data) - self.at)
        if pad:
            self._note(
                Part(
                    self.level,
                    "padding",
                    self.base + self.at,
                    pad,
                    self.data[self.at : self.at + pad].hex(" "),
                    "Fills up to a multiple of four bytes; zero.",
                    "RFC 4506, 4.10",
                )
            )
        self.at += pad
        return found

    def item(self, item: Item, start: int) -> None:
        """Note an item of a value that begins at `start`."""
        value = _short(_text(item.value)) if item.whole or item.data else ""
        place = self.base + start + item.offset
        self._note(Part(self.level + item.level, item.name, place, len(item.data), value, item.type))

    def fail(self, text: str) -> NoReturn:
        """Note where the message is wrong, and stop.

        Raises:
            _Cut: Always.
        """
        left = len(self.data) - self.at
        self._note(Part(self.level, "?", self.base + self.at, left, "", text, "", fault=True))
        self.out.fault = text
        raise _Cut(text)

    def _note(self, part: Part) -> None:
        if len(self.out.parts) < _MAX_PARTS:
            self.out.parts.append(part)


def _short(text: str) -> str:
    """Cut a text that nobody would read to its end."""
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"


def explain_message(
    data: bytes, programs: Programs, *, call: tuple[int, int, int] | None = None, base: int = 0
) -> Explanation:
    """Take one message apart (RFC 5531, section 9).

    Args:
        data: The whole message, without record marks.
        programs: What can be told by name.
        call: For a reply: program, version and procedure of its call, without which its results are only bytes.
        base: What to add to every offset.
    """
    out = Explanation()
    reader = _Reader(data, base, out)
    try:
        out.xid = reader.word(
            "xid",
            "The transaction: the caller chose it, the reply repeats it, a retransmission has it again.",
            "RFC 5531, 9",
        )
        kind = reader.word("msg_type", "A call or a reply.", "RFC 5531, 9", {_CALL: "CALL", _REPLY: "REPLY"})
        if kind == _CALL:
            out.kind = "CALL"
            _call(reader, programs)
        elif kind == _REPLY:
            out.kind = "REPLY"
            if call is not None:
                out.program, out.version, out.procedure = call
            _reply(reader, programs, call)
        else:
            reader.fail(f"msg_type is {kind}, neither CALL (0) nor REPLY (1)")
    except _Cut:
        pass
    if not out.title:
        out.title = out.fault or out.kind
    return out


def _call(reader: _Reader, programs: Programs) -> None:
    """Take the body of a call apart."""
    out = reader.out
    version = reader.word("rpcvers", "The version of RPC itself; 2 since 1988.", "RFC 5531, 9")
    if version != 2:  # noqa: PLR2004 - the only one there is
        out.fault = f"RPC version {version} is refused with RPC_MISMATCH, which says 2 to 2"
    out.program = reader.word("prog", "The remote program, by the number that it registered.", "RFC 5531, 8.3")
    out.version = reader.word("vers", "The version of the program's protocol.", "RFC 5531, 8.3")
    out.procedure = reader.word(
        "proc", f"The procedure: {programs.procedure_name(out.program, out.version, out.procedure)}.", "RFC 5531, 8.3"
    )
    name = programs.procedure_name(out.program, out.version, out.procedure)
    proc = out.parts[-1]
    out.parts[-1] = Part(
        proc.level,
        proc.name,
        proc.offset,
        proc.size,
        f"{name} ({out.procedure})",
        "The procedure called.",
        proc.section,
    )
    out.title = f"{programs.name(out.program, out.version)}.{out.version} {name}"
    _opaque_auth(reader, "cred", "Who calls: flavor and body of the credential.")
    _opaque_auth(reader, "verf", "Proves the credential, where the flavor has proofs.")
    procedure = programs.procedure(out.program, out.version, out.procedure)
    _values(reader, "arguments", None if procedure is None else procedure.arguments)


def _opaque_auth(reader: _Reader, name: str, sentence: str) -> None:
    """Take a credential or a verifier apart."""
    reader.heading(name, sentence, "RFC 5531, 8.2")
    reader.level += 1
    flavor = reader.word("flavor", "The kind of authentication.", "RFC 5531, 8.2", _FLAVORS)
    size = reader.word("length", "Bytes of its body; at most 400.", "RFC 5531, 8.2")
    if size > _MAX_AUTH_BODY:
        reader.fail(f"the body of {name} has {size} bytes, and 400 are the most: AUTH_BADCRED or AUTH_BADVERF")
    if flavor == _AUTH_SYS and name == "cred" and size <= len(reader.data) - reader.at:
        end = reader.at + size
        _auth_sys(reader, end)
        reader.at = min(end + -size % 4, len(reader.data))
    else:
        reader.opaque("body", size, "Opaque to everybody but the flavor.", "RFC 5531, 8.2")
    reader.level -= 1


def _auth_sys(reader: _Reader, end: int) -> None:
    """Take the body of AUTH_SYS apart; it must not go on past its own length."""
    whole, reader.data = reader.data, reader.data[:end]
    try:
        reader.word("stamp", "Any number; nobody looks at it.", "RFC 5531, A")
        size = reader.word("length", "Bytes of the name; at most 255.", "RFC 5531, A")
        reader.opaque("machinename", size, "What the caller's machine calls itself: a claim.", "RFC 5531, A", text=True)
        reader.word("uid", "The caller's user: a claim that nothing proves.", "RFC 5531, 14")
        reader.word("gid", "The caller's group: a claim too.", "RFC 5531, 14")
        count = reader.word("gids", "How many more groups follow; at most 16.", "RFC 5531, A")
        if count > 16:  # noqa: PLR2004 - RFC 5531, appendix A
            reader.fail(f"{count} groups, and 16 are the most: AUTH_BADCRED")
        for index in range(count):
            reader.word(f"gids[{index}]", "A further group.", "RFC 5531, A")
    finally:
        reader.data = whole


def _reply(reader: _Reader, programs: Programs, call: tuple[int, int, int] | None) -> None:
    """Take the body of a reply apart."""
    out = reader.out
    stat = reader.word(
        "reply_stat", "Whether the call was looked at at all.", "RFC 5531, 9", {0: "MSG_ACCEPTED", 1: "MSG_DENIED"}
    )
    if stat == 1:
        reject = reader.word("reject_stat", "Why not.", "RFC 5531, 9", _names(RejectStat))
        if reject == RejectStat.AUTH_ERROR:
            why = reader.word(
                "auth_stat", "What was wrong with credential or verifier.", "RFC 5531, 9", _names(AuthStat)
            )
            out.title = _names(AuthStat).get(why, f"auth_stat {why}")
        else:
            out.title = "RPC_MISMATCH"
            _range(reader, "RPC")
        return
    if stat:
        reader.fail(f"reply_stat is {stat}, neither MSG_ACCEPTED (0) nor MSG_DENIED (1)")
    _opaque_auth(reader, "verf", "Proves that the server is the right one, where the flavor has proofs.")
    accept = reader.word("accept_stat", "What became of the call.", "RFC 5531, 9", _names(AcceptStat))
    out.title = _names(AcceptStat).get(accept, f"accept_stat {accept}")
    if accept == AcceptStat.PROG_MISMATCH:
        _range(reader, "the program")
    elif accept == AcceptStat.SUCCESS:
        procedure = None if call is None else programs.procedure(*call)
        _values(reader, "results", None if procedure is None else _results(procedure))


def _results(procedure: Procedure) -> tuple[Any, ...]:
    """Return the types of what a procedure answers: none or one."""
    return () if procedure.result is None else (procedure.result,)


def _range(reader: _Reader, of: str) -> None:
    """Take the range of a mismatch."""
    reader.word("low", f"The lowest version of {of} that is spoken there.", "RFC 5531, 9")
    reader.word("high", f"The highest version of {of} that is spoken there.", "RFC 5531, 9")


def _names(enum: type[AcceptStat | AuthStat | RejectStat]) -> dict[int, str]:
    """Return an enum as a table."""
    return {int(member): member.name for member in enum}


def _values(reader: _Reader, name: str, types: tuple[Any, ...] | None) -> None:
    """Take arguments or results apart; without their types they are bytes."""
    left = len(reader.data) - reader.at
    if types is None:
        if left:
            reader.opaque(name, left, "Not decoded: the .x file of this program is not known here.", "")
        return
    reader.heading(name, "" if types or left else "None: void.", "")
    reader.level += 1
    for annotation in types:
        _value(reader, annotation)
    left = len(reader.data) - reader.at
    if left:
        reader.opaque("surplus", left, f"Bytes behind the {name}. C servers ignore them; so do we.", "")
    reader.level -= 1


def _value(reader: _Reader, annotation: Any) -> None:
    """Take one value of a declared type apart."""
    start = reader.at
    rest = reader.data[start:]
    try:
        # Where the value ends, so that what lies behind it is not taken for a part of it.
        _, end = codec(annotation).decode_from(rest, 0, lenient_padding=True)
    except XDRDecodeError:
        end = len(rest)
    try:
        for item in walk(annotation, rest[:end], lenient_padding=True):
            reader.item(item, start)
    except XDRDecodeError as error:
        reader.at = start + min(error.offset, len(rest))
        reader.fail(str(error))
    reader.at = start + end


def _text(value: Any) -> str:
    """Return a value as a person would write it."""
    if isinstance(value, bytes | bytearray | memoryview):
        data = bytes(value)
        return repr(data)[1:] if data.isascii() and data.decode().isprintable() else data[:_SHOWN].hex(" ", 4)
    if isinstance(value, int) and hasattr(value, "name"):
        return f"{value.name} ({int(value)})"
    return "" if value is None else str(value)


def explain_stream(
    data: bytes,
    programs: Programs,
    *,
    calls: Mapping[int, tuple[int, int, int]] | None = None,
    call: tuple[int, int, int] | None = None,
) -> Iterator[Explanation]:
    """Take the records of a stream apart, record marks included (RFC 5531, section 11).

    Args:
        data: From the first byte of a record mark on.
        programs: What can be told by name.
        calls: For replies: xid of the call to its program, version and procedure.
        call: The same for replies to a call that is not among them.

    Yields:
        One explanation for each record; the last one says what is missing, if the stream ends in a record.
    """
    at = 0
    while at < len(data):
        marks: list[Part] = []
        pieces: list[tuple[int, int]] = []  # where each fragment lies in the stream
        missing = ""
        last = False
        while not last and not missing:
            mark = int.from_bytes(data[at : at + 4], "big")
            size = mark & ~_LAST_FRAGMENT
            if len(data) - at < 4:  # noqa: PLR2004 - a record mark
                missing = f"{len(data) - at} of the 4 bytes of a record mark are there"
                marks.append(Part(0, "record mark", at, len(data) - at, "", missing, "RFC 5531, 11", fault=True))
                at = len(data)
                break
            last = bool(mark & _LAST_FRAGMENT)
            what = "the last fragment" if last else "a fragment, and more follow"
            sentence = (
                f"{what} of {size} bytes: the highest bit says whether it is the last, the others how long it is."
            )
            marks.append(
                Part(0, "record mark", at, 4, data[at : at + 4].hex(" ", 4), sentence.capitalize(), "RFC 5531, 11")
            )
            have = min(size, len(data) - at - 4)
            pieces.append((at + 4, have))
            at += 4 + have
            if have < size:
                missing = f"the record ends {size - have} bytes early"
        message = b"".join(data[start : start + size] for start, size in pieces)
        known = call if calls is None else calls.get(int.from_bytes(message[:4], "big"), call)
        found = explain_message(message, programs, call=known)
        found.parts = sorted(marks + [_moved(part, pieces) for part in found.parts], key=lambda part: part.offset)
        if missing:
            found.fault = found.fault or missing
        yield found


def _moved(part: Part, pieces: list[tuple[int, int]]) -> Part:
    """Return a part of a message with its offset in the stream that the message's fragments came in."""
    at = part.offset
    for start, size in pieces:
        if at < size or (start, size) == pieces[-1]:
            return replace(part, offset=start + at)
        at -= size
    return part
