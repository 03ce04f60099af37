"""AU: credentials and verifiers, right and wrong (RFC 5531, sections 8.2 and 10, appendix A; RFC 9289)."""

from __future__ import annotations

from typing import Final

from oncrpc.check import wire
from oncrpc.check.case import Deviation, Register
from oncrpc.check.expect import auth_error, null_success, reply, same_xid, still_alive
from oncrpc.check.probe import Closed, Outcome, Probe, Silence

register = Register()

APPENDIX: Final = "RFC 5531, appendix A"
PARMS: Final = (
    "struct authsys_parms { unsigned int stamp; string machinename<255>; unsigned int uid; unsigned int gid; "
    "unsigned int gids<16>; };"
)
REJECTED: Final = (
    "If authentication parameters were rejected, the reply message contains information stating why they were rejected."
)
FOUR_HUNDRED: Final = (
    'any "opaque_auth" structure is an "auth_flavor" enumeration followed by up to 400 bytes that are opaque'
)
UNDECODABLE: Final = "the header cannot be decoded, so no answer is lawful too, but leaves the client guessing"

BADCRED, REJECTEDCRED, BADVERF, REJECTEDVERF, TOOWEAK = 1, 2, 3, 4, 5
GSS_CREDPROBLEM, GSS_CTXPROBLEM = 13, 14


def _served_or_too_weak(outcome: Outcome, message: bytes) -> wire.Reply:
    """A right AUTH_SYS call may be served, or refused by policy, but not called malformed."""
    expected = "SUCCESS (or AUTH_TOOWEAK by the server's policy)"
    got = reply(outcome, expected)
    same_xid(got, int.from_bytes(message[:4], "big"), expected)
    if not got.succeeded and not (got.denied_auth and got.auth_stat in (TOOWEAK, REJECTEDCRED)):
        raise Deviation(expected, got)
    return got


@register.case(
    "AU-1",
    "AUTH_NONE is available",
    "RFC 5531, section 10",
    "Null authentication (described in the next subsection) is mandatory -- it MUST be available in all "
    "implementations.",
)
def auth_none(probe: Probe) -> object:
    message = probe.null()
    return null_success(probe.ask("NULL with AUTH_NONE", message), message)


@register.case(
    "AU-2",
    "an AUTH_NONE credential may have a body",
    "RFC 5531, section 10.1",
    'Opaque data associated with "AUTH_NONE" is undefined. It is recommended that the length of the opaque data be '
    "zero.",
)
def auth_none_body(probe: Probe) -> object:
    message = probe.null(cred=wire.Auth(body=b"x" * 32))
    outcome = probe.ask("NULL with AUTH_NONE and a body of 32 bytes", message)
    got = reply(outcome, "SUCCESS, or AUTH_ERROR")
    if not got.succeeded and not got.denied_auth:
        raise Deviation("SUCCESS, or AUTH_ERROR", got)
    return got


@register.case("AU-3", "a right AUTH_SYS credential is understood", APPENDIX, PARMS)
def auth_sys(probe: Probe) -> object:
    message = probe.null(cred=wire.auth_sys())
    return _served_or_too_weak(probe.ask("NULL with AUTH_SYS", message), message)


@register.case("AU-4", "AUTH_SYS may name a machine of 255 bytes and 16 groups", APPENDIX, PARMS)
def auth_sys_limits(probe: Probe) -> object:
    message = probe.null(cred=wire.auth_sys(b"m" * 255, tuple(range(16))))
    return _served_or_too_weak(probe.ask("NULL with AUTH_SYS, 255-byte name, 16 gids", message), message)


@register.case("AU-5", "AUTH_SYS may have an empty name and no groups", APPENDIX, PARMS)
def auth_sys_empty(probe: Probe) -> object:
    message = probe.null(cred=wire.auth_sys(b"", ()))
    return _served_or_too_weak(probe.ask("NULL with AUTH_SYS, empty name, no gids", message), message)


@register.case(
    "AU-6",
    "the reply to AUTH_SYS has an AUTH_NONE or AUTH_SHORT verifier",
    APPENDIX,
    'The flavor value of the verifier received in the reply message from the server may be "AUTH_NONE" or '
    '"AUTH_SHORT".',
)
def auth_sys_verifier(probe: Probe) -> object:
    message = probe.null(cred=wire.auth_sys())
    got = _served_or_too_weak(probe.ask("NULL with AUTH_SYS", message), message)
    if got.accepted and got.verifier.flavor not in (wire.AUTH_NONE, wire.AUTH_SHORT):
        raise Deviation("verifier AUTH_NONE or AUTH_SHORT", f"flavor {got.verifier.flavor}")
    return f"flavor {got.verifier.flavor}" if got.accepted else got


@register.case("AU-7", "17 groups are refused", APPENDIX, PARMS)
def too_many_groups(probe: Probe) -> object:
    message = probe.null(cred=wire.auth_sys(gids=tuple(range(17))))
    return auth_error(probe.ask("NULL with AUTH_SYS, 17 gids", message), message, BADCRED)


@register.case("AU-8", "a machine name of 256 bytes is refused", APPENDIX, PARMS)
def name_too_long(probe: Probe) -> object:
    message = probe.null(cred=wire.auth_sys(b"m" * 256))
    return auth_error(probe.ask("NULL with AUTH_SYS, 256-byte name", message), message, BADCRED)


@register.case("AU-9", "an AUTH_SYS body that ends early is refused", APPENDIX, PARMS)
def body_too_short(probe: Probe) -> object:
    whole = wire.auth_sys(gids=(1, 2)).body
    answer = ""
    for length in (0, 4, 8, 12, len(whole) - 8, len(whole) - 4):
        message = probe.null(cred=wire.Auth(wire.AUTH_SYS, whole[:length]))
        answer = auth_error(
            probe.ask(f"NULL with the first {length} bytes of an AUTH_SYS body", message), message, BADCRED
        )
    return answer


@register.case("AU-10", "false counts inside an AUTH_SYS body are refused", APPENDIX, PARMS)
def false_counts(probe: Probe) -> object:
    answer = ""
    for what, cred in (
        ("a name of 2**32 - 1 bytes", wire.auth_sys(name_length=0xFFFFFFFF)),
        ("a name of 200 bytes that has 5", wire.auth_sys(name_length=200)),
        ("2**32 - 1 gids", wire.auth_sys(gid_count=0xFFFFFFFF)),
        ("16 gids where 1 follows", wire.auth_sys(gid_count=16)),
    ):
        message = probe.null(cred=cred)
        answer = auth_error(probe.ask(f"NULL with AUTH_SYS that announces {what}", message), message, BADCRED)
    return answer


@register.case("AU-11", "an unknown flavor is refused with a reason", "RFC 5531, section 8.2", REJECTED)
def unknown_flavor(probe: Probe) -> object:
    message = probe.null(cred=wire.Auth(0x7FFFFFF7, b"abcd"))
    outcome = probe.ask("NULL with flavor 0x7ffffff7", message)
    if isinstance(outcome, wire.Reply) and outcome.succeeded:
        raise Deviation(
            "AUTH_ERROR (procedure 0 never requires authentication, so SUCCESS is lawful)", outcome, warn=True
        )
    return auth_error(outcome, message, REJECTEDCRED, TOOWEAK, BADCRED)


@register.case(
    "AU-12",
    "an unknown shorthand credential is answered AUTH_REJECTEDCRED",
    APPENDIX,
    "The server may flush the shorthand opaque structure at any time. [...] The reason for the failure will be "
    '"AUTH_REJECTEDCRED".',
)
def unknown_shorthand(probe: Probe) -> object:
    message = probe.null(cred=wire.Auth(wire.AUTH_SHORT, b"\xde\xad\xbe\xef" * 2))
    outcome = probe.ask("NULL with an AUTH_SHORT handle never given out", message)
    return auth_error(outcome, message, REJECTEDCRED)


def _too_big(outcome: Outcome, message: bytes, *stats: int) -> str:
    if isinstance(outcome, wire.Reply) and outcome.accepted and outcome.stat in (wire.GARBAGE_ARGS, wire.SYSTEM_ERR):
        raise Deviation(f"AUTH_ERROR with {wire.AUTH_STATS[stats[0]]}", outcome, warn=True)
    return auth_error(outcome, message, *stats, silent=UNDECODABLE)


@register.case("AU-13", "a credential of over 400 bytes is refused", "RFC 5531, section 8.2", FOUR_HUNDRED)
def credential_too_big(probe: Probe) -> object:
    message = probe.null(cred=wire.Auth(wire.AUTH_SYS, bytes(404)))
    answer = _too_big(probe.ask("NULL with a credential of 404 bytes", message), message, BADCRED)
    still_alive(probe, "a credential of 404 bytes")
    return answer


@register.case("AU-14", "a verifier of over 400 bytes is refused", "RFC 5531, section 8.2", FOUR_HUNDRED)
def verifier_too_big(probe: Probe) -> object:
    message = probe.null(verf=wire.Auth(body=bytes(404)))
    answer = _too_big(probe.ask("NULL with a verifier of 404 bytes", message), message, BADVERF, BADCRED)
    still_alive(probe, "a verifier of 404 bytes")
    return answer


@register.case("AU-15", "credential lengths beyond the message are not believed", "RFC 5531, section 8.2", FOUR_HUNDRED)
def false_credential_length(probe: Probe) -> object:
    outcomes = []
    for length in (100, 0x7FFFFFFF, 0xFFFFFFFF):
        message = probe.null(cred=wire.Auth(wire.AUTH_SYS, b"", length=length))
        outcome = probe.ask(f"NULL that announces a credential of {length} bytes", message)
        if isinstance(outcome, wire.Reply) and outcome.succeeded:
            raise Deviation("no SUCCESS", outcome)
        if not isinstance(outcome, wire.Reply | Silence | Closed):
            raise Deviation("an RPC error, or no answer", outcome)
        outcomes.append(str(outcome))
    still_alive(probe, "false credential lengths")
    return "; ".join(dict.fromkeys(outcomes))


@register.case(
    "AU-16",
    "RPCSEC_GSS garbage is refused",
    "RFC 2203, section 5.2.3.2",
    "MSG_DENIED might also be returned if the RPCSEC_GSS version number in the credential is not supported on the "
    "server. In that case, the server returns a rejection status of AUTH_ERROR",
)
def gss_garbage(probe: Probe) -> object:
    message = probe.null(cred=wire.Auth(wire.RPCSEC_GSS, b"\xff" * 20))
    return auth_error(probe.ask("NULL with 20 bytes of RPCSEC_GSS garbage", message), message)


@register.case(
    "AU-17",
    "an AUTH_TLS probe is answered",
    "RFC 9289, section 4.1",
    "The RPC server signals its corresponding support for RPC-with-TLS by replying with a reply_stat of MSG_ACCEPTED "
    'and an AUTH_NONE verifier containing the "STARTTLS" token.',
)
def tls_probe(probe: Probe) -> object:
    message = probe.null(cred=wire.Auth(wire.AUTH_TLS))
    expected = "AUTH_ERROR, or MSG_ACCEPTED with STARTTLS"
    got = reply(probe.ask("NULL with AUTH_TLS", message), expected)
    if got.accepted and got.verifier.body == b"STARTTLS":
        return "STARTTLS is offered"
    if got.succeeded:
        raise Deviation(f"{expected}; a client goes on without TLS", f"{got} without STARTTLS", warn=True)
    if not got.denied_auth:
        raise Deviation(expected, got)
    return f"{got}: no TLS here"


@register.case(
    "AU-18",
    "AUTH_TLS on any procedure but 0 is refused",
    "RFC 9289, section 4.1",
    "If an RPC client uses the AUTH_TLS authentication flavor on any procedure other than the NULL procedure [...] the "
    "RPC server MUST reject that RPC Call by returning a reply_stat of MSG_DENIED with a reject_stat of AUTH_ERROR",
)
def tls_elsewhere(probe: Probe) -> object:
    message = probe.null(cred=wire.Auth(wire.AUTH_TLS), procedure=0x7FFFFFF7)
    return auth_error(probe.ask("procedure 0x7ffffff7 with AUTH_TLS", message), message)
