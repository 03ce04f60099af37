"""ER: what is answered when the procedure cannot be called (RFC 5531, sections 8.1 and 9)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from oncrpc.check import wire
from oncrpc.check.case import STREAMS, Deviation, Register
from oncrpc.check.expect import accept_stat, null_success

if TYPE_CHECKING:
    from oncrpc.check.probe import Probe

register = Register()

SECTION: Final = "RFC 5531, section 8.1"
NO_PROGRAM: Final = "The remote program is not available on the remote system."
NO_VERSION: Final = (
    "The remote program does not support the requested version number. The lowest and highest supported remote program "
    "version numbers are returned."
)
NO_PROCEDURE: Final = "The requested procedure number does not exist."

UNKNOWN_PROGRAMS: Final = (0x5FFFFFF7, 0, 0xFFFFFFFF)
"""Transient block, which no server owns for long, and two that nobody may have (RFC 5531, section 8.3)."""


@register.case(
    "ER-1",
    "procedure 0 does nothing, successfully",
    "RFC 5531, section 12.1",
    "By convention, procedure 0 of any RPC protocol should have the same semantics and never require any kind of "
    "authentication.",
)
def null_procedure(probe: Probe) -> object:
    message = probe.null()
    return null_success(probe.ask("NULL", message), message)


@register.case("ER-2", "an unknown program is answered PROG_UNAVAIL", SECTION, NO_PROGRAM)
def unknown_program(probe: Probe) -> object:
    for program in UNKNOWN_PROGRAMS:
        if program != probe.target.program:
            message = probe.null(program=program)
            got = accept_stat(probe.ask(f"program {program:#x}", message), message, wire.PROG_UNAVAIL)
    return got


def _mismatch(probe: Probe, version: int) -> wire.Reply:
    message = probe.null(version=version)
    got = accept_stat(probe.ask(f"version {version}", message), message, wire.PROG_MISMATCH)
    served = probe.target.version
    if not got.low <= served <= got.high:
        raise Deviation(f"PROG_MISMATCH with a range that holds version {served}", got)
    if got.low <= version <= got.high:
        raise Deviation(f"PROG_MISMATCH with a range that leaves out version {version}", got, warn=True)
    return got


@register.case("ER-3", "a version too high is answered PROG_MISMATCH with the range served", SECTION, NO_VERSION)
def version_too_high(probe: Probe) -> object:
    _mismatch(probe, 0xFFFFFFFF)
    return _mismatch(probe, 0x7FFFFFF7)


@register.case("ER-4", "version 0 is answered PROG_MISMATCH with the range served", SECTION, NO_VERSION)
def version_zero(probe: Probe) -> object:
    return _mismatch(probe, 0)


@register.case("ER-5", "an unknown procedure is answered PROC_UNAVAIL", SECTION, NO_PROCEDURE)
def unknown_procedure(probe: Probe) -> object:
    for procedure in (0x7FFFFFF7, 0xFFFFFFFF):
        message = probe.null(procedure=procedure)
        got = accept_stat(probe.ask(f"procedure {procedure:#x}", message), message, wire.PROC_UNAVAIL)
    return got


@register.case(
    "ER-6",
    "an unknown program is told before its version and procedure",
    SECTION,
    NO_PROGRAM,
)
def precedence(probe: Probe) -> object:
    message = probe.null(program=UNKNOWN_PROGRAMS[0], version=0xFFFFFFFF, procedure=0xFFFFFFFF)
    got = accept_stat(probe.ask("program, version and procedure unknown", message), message, wire.PROG_UNAVAIL)
    message = probe.null(version=0x7FFFFFF7, procedure=0xFFFFFFFF)
    accept_stat(probe.ask("version and procedure unknown", message), message, wire.PROG_MISMATCH)
    return got


@register.case(
    "ER-7",
    "error replies have nothing behind their status",
    "RFC 5531, section 9",
    "The PROG_UNAVAIL, PROC_UNAVAIL, GARBAGE_ARGS, and SYSTEM_ERR arms of the union are void.",
)
def void_arms(probe: Probe) -> object:
    lengths = []
    for what, size, changes in (
        ("unknown program", 24, {"program": UNKNOWN_PROGRAMS[0]}),
        ("unknown version", 32, {"version": 0x7FFFFFF7}),
        ("unknown procedure", 24, {"procedure": 0x7FFFFFF7}),
    ):
        outcome = probe.ask(what, probe.null(**changes))
        if not isinstance(outcome, wire.Reply) or outcome.succeeded:
            raise Deviation("an error reply", outcome)
        expected = size + len(wire.padded(outcome.verifier.body))
        if len(outcome.raw) != expected:
            raise Deviation(f"{expected} bytes for an {what}", f"{len(outcome.raw)} bytes")
        lengths.append(str(expected))
    return f"{', '.join(lengths)} bytes"


@register.case(
    "ER-8",
    "after an error the connection goes on",
    SECTION,
    "The reply message to a request message has enough information to distinguish the following error conditions",
    transports=STREAMS,
)
def connection_goes_on(probe: Probe) -> object:
    probe.note("unknown program, version and procedure, then NULL, on one connection")
    with probe.connect() as talk:
        for changes in ({"program": UNKNOWN_PROGRAMS[0]}, {"version": 0x7FFFFFF7}, {"procedure": 0x7FFFFFF7}):
            talk.exchange(probe.null(**changes))
        message = probe.null()
        return null_success(talk.exchange(message), message)
