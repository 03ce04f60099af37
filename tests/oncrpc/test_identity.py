"""oncrpc.identity: who calls, and the door for flavors with secrets."""

from __future__ import annotations

import hmac
import struct
from typing import TYPE_CHECKING, ClassVar

import pytest

from oncrpc.auth import AuthSys
from oncrpc.client import Answered, Failed, StreamClient
from oncrpc.errors import AuthenticationFailed, AuthStat
from oncrpc.identity import NOBODY, Identity
from oncrpc.message import parse_call

if TYPE_CHECKING:
    from oncrpc.replies import ReplyHeader


def test_nobody_sends_two_empty_auth_nones() -> None:
    assert NOBODY.seal(b"header", b"arguments") == b"header" + bytes(16) + b"arguments"


def test_auth_sys_goes_into_the_credential() -> None:
    who = AuthSys(1, "krypton", 2, 3, (4,))
    header = parse_call(Identity(who).seal(struct.pack(">6I", 1, 0, 2, 3, 4, 5), b""))
    assert header.flavor == 1
    assert AuthSys.decode(header.credential) == who
    assert header.verifier_flavor == 0


def test_a_credential_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="gids"):
        Identity(AuthSys(1, "k", 2, 3, tuple(range(17))))


class Sealed(Identity):
    """A flavor with a secret: a digest of the header as verifier both ways, and arguments turned round."""

    verifies: ClassVar[bool] = True

    def seal(self, header: bytes, arguments: bytes) -> bytes:
        digest = hmac.digest(b"secret", header, "sha256")
        return header + struct.pack(">4I", 300001, 0, 300001, len(digest)) + digest + arguments[::-1]

    def unseal(self, header: ReplyHeader, results: memoryview) -> bytes:
        if header.verifier != hmac.digest(b"secret", header.xid.to_bytes(4, "big"), "sha256"):
            raise AuthenticationFailed(AuthStat.AUTH_INVALIDRESP)
        return bytes(results)[::-1]


@pytest.mark.parametrize("good", [True, False])
def test_a_flavor_with_a_secret_covers_arguments_results_and_the_reply(good: bool) -> None:
    core = StreamClient(first_xid=1)
    xid = core.start("token", 5, 1, 2, b"abcd", now=0, identity=Sealed())
    sent = core.data_to_send()[4:]
    header = parse_call(sent)
    assert header.verifier == hmac.digest(b"secret", sent[:24], "sha256")
    assert sent[header.arguments :] == b"dcba"
    digest = hmac.digest(b"secret" if good else b"guess", xid.to_bytes(4, "big"), "sha256")
    reply = struct.pack(">5I", xid, 1, 0, 300001, len(digest)) + digest + bytes(4) + b"wxyz"
    core.receive_data(struct.pack(">I", 0x80000000 | len(reply)) + reply)
    event = core.next_event()
    if good:
        assert event == Answered("token", b"zyxw")
    else:
        assert isinstance(event, Failed)
        assert isinstance(event.error, AuthenticationFailed)


def test_a_plain_reply_does_not_pass_a_flavor_that_verifies() -> None:
    core = StreamClient(first_xid=1)
    core.start("token", 5, 1, 2, b"", now=0, identity=Sealed())
    core.receive_data(struct.pack(">7I", 0x80000018, 1, 1, 0, 0, 0, 0))
    assert isinstance(core.next_event(), Failed)
