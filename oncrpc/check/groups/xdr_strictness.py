"""XD: padding, lengths and surplus bytes, as far as they show without knowing the program (RFC 4506)."""

from __future__ import annotations

from typing import Final

from oncrpc.check import wire
from oncrpc.check.case import Deviation, NotApplicable, Register
from oncrpc.check.expect import null_success, reply, still_alive
from oncrpc.check.probe import Closed, Probe, Silence

register = Register()

OPAQUE: Final = "RFC 4506, section 4.10"
PADDING: Final = (
    "If n is not a multiple of four, then the n bytes are followed by enough (0 to 3) residual zero bytes, r, to make "
    "the total byte count a multiple of four."
)
GARBAGE: Final = "The parameters to the remote procedure appear to be garbage from the server's point of view."


@register.case("XD-1", "the padding of opaque data is stepped over", OPAQUE, PADDING)
def verifier_padding(probe: Probe) -> object:
    for size in (1, 2, 3):
        message = probe.null(verf=wire.Auth(body=b"v" * size))
        outcome = probe.ask(f"NULL with an AUTH_NONE verifier of {size} bytes", message)
        if isinstance(outcome, wire.Reply) and outcome.denied_auth:
            continue  # a verifier with a body may be refused; it must not shift what follows
        null_success(outcome, message, "SUCCESS, or AUTH_ERROR")
    return "three lengths understood"


@register.case("XD-2", "the padding of strings is stepped over", "RFC 4506, section 4.11", PADDING)
def name_padding(probe: Probe) -> object:
    for size in (1, 2, 3, 4):
        message = probe.null(cred=wire.auth_sys(b"m" * size, (1, 2, 3)))
        outcome = probe.ask(f"NULL with AUTH_SYS and a name of {size} bytes", message)
        got = reply(outcome, "SUCCESS (or AUTH_TOOWEAK by policy)")
        if not got.succeeded and not (got.denied_auth and got.auth_stat in (2, 5)):
            raise Deviation("SUCCESS (or AUTH_TOOWEAK by policy)", got)
    return "four lengths understood"


@register.case("XD-3", "padding that is not zero is noticed", OPAQUE, PADDING)
def nonzero_padding(probe: Probe) -> object:
    message = probe.null(cred=wire.auth_sys(b"krypton", fill=b"\xff"))
    got = reply(probe.ask("NULL with AUTH_SYS whose name is padded with 0xff", message), "AUTH_ERROR with AUTH_BADCRED")
    if got.succeeded:
        raise Deviation("AUTH_ERROR with AUTH_BADCRED (C servers do not look)", got, warn=True)
    if not got.denied_auth:
        raise Deviation("AUTH_ERROR with AUTH_BADCRED, or SUCCESS", got)
    return got


@register.case(
    "XD-4",
    "a credential with bytes behind its last field is noticed",
    "RFC 5531, appendix A",
    "The opaque data constituting the credential encodes the following structure",
)
def surplus_in_credential(probe: Probe) -> object:
    body = wire.auth_sys().body + b"surplus!"
    message = probe.null(cred=wire.Auth(wire.AUTH_SYS, body))
    got = reply(probe.ask("NULL with AUTH_SYS and 8 bytes behind it", message), "AUTH_ERROR with AUTH_BADCRED")
    if got.succeeded:
        raise Deviation("AUTH_ERROR with AUTH_BADCRED (many servers do not look)", got, warn=True)
    if not got.denied_auth:
        raise Deviation("AUTH_ERROR with AUTH_BADCRED, or SUCCESS", got)
    return got


@register.case(
    "XD-5",
    "surplus bytes after the arguments do no harm",
    "RFC 5531, section 8.1",
    GARBAGE,
)
def surplus_arguments(probe: Probe) -> object:
    expected = "SUCCESS (surplus ignored), or GARBAGE_ARGS"
    message = probe.null(args=b"\xa5" * 64)
    outcome = probe.ask("NULL with 64 bytes of arguments", message)
    got = reply(outcome, expected)
    if not got.accepted or got.stat not in (wire.SUCCESS, wire.GARBAGE_ARGS) or got.body:
        raise Deviation(expected, got)
    return got


@register.case(
    "XD-6",
    "a message whose length is no multiple of four does no harm",
    "RFC 4506, section 3",
    "The representation of all items requires a multiple of four bytes (or 32 bits) of data.",
)
def odd_length(probe: Probe) -> object:
    outcomes = []
    for extra in (b"x", b"xx", b"xxx"):
        outcome = probe.ask(f"NULL with {len(extra)} bytes behind it", probe.null(args=extra))
        if not isinstance(outcome, wire.Reply | Silence | Closed):
            raise Deviation("a reply, or none", outcome)
        outcomes.append(str(outcome))
    still_alive(probe, "messages of odd length")
    return "; ".join(dict.fromkeys(outcomes))


@register.case("XD-7", "arguments cut short are answered GARBAGE_ARGS", "RFC 5531, section 8.1", GARBAGE)
def short_arguments(probe: Probe) -> object:
    procedures = probe.target.argument_procedures
    if not procedures:
        msg = "needs a procedure that takes arguments: --spec F.x, or --proc N"
        raise NotApplicable(msg)
    for procedure in procedures:
        message = probe.null(procedure=procedure)
        outcome = probe.ask(f"procedure {procedure} without its arguments", message)
        got = reply(outcome, "GARBAGE_ARGS")
        if got.denied_auth:
            continue
        if not got.accepted or got.stat != wire.GARBAGE_ARGS or got.body:
            raise Deviation("GARBAGE_ARGS", f"{got} (procedure {procedure})")
    return f"{len(procedures)} procedure{'s' * (len(procedures) != 1)} noticed"


@register.case(
    "XD-8", "arguments of absurd lengths are answered GARBAGE_ARGS, at once", "RFC 5531, section 8.1", GARBAGE
)
def absurd_arguments(probe: Probe) -> object:
    procedures = probe.target.argument_procedures
    if not procedures:
        msg = "needs a procedure that takes arguments: --spec F.x, or --proc N"
        raise NotApplicable(msg)
    for procedure in procedures:
        message = probe.null(procedure=procedure, args=b"\xff\xff\xff")
        outcome = probe.ask(f"procedure {procedure} with 3 bytes 0xff", message)
        got = reply(outcome, "GARBAGE_ARGS")
        if not got.denied_auth and (not got.accepted or got.stat != wire.GARBAGE_ARGS):
            raise Deviation("GARBAGE_ARGS", f"{got} (procedure {procedure})")
    still_alive(probe, "absurd arguments")
    return f"{len(procedures)} procedure{'s' * (len(procedures) != 1)} noticed"
