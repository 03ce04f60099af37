from __future__ import annotations

import pytest

from oncrpc.auth import AuthSys
from oncrpc.errors import AuthenticationFailed, AuthStat
from oncrpc.program import Peer, PeerCredentials
from oncrpc.trust import NOBODY, Trust

ALICE = AuthSys(0, "here", 1000, 100, (4,))
ROOT = AuthSys(0, "here", 0, 0, (0,))


@pytest.mark.parametrize(
    ("host", "known"),
    [
        ("127.0.0.1", True),
        ("127.3.2.1", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("", True),
        ("192.0.2.1", False),
        ("::ffff:192.0.2.1", False),
        ("fe80::1%eth0", False),
        ("nonsense", False),
    ],
)
def test_loopback_and_local_sockets_are_trusted_by_default(host: str, known: bool) -> None:
    assert Trust().knows(Peer(host, 700)) is known


def test_listed_networks_are_trusted() -> None:
    trust = Trust(("192.0.2.0/24", "2001:db8::/32"))
    assert trust.knows(Peer("192.0.2.7", 1))
    assert trust.knows(Peer("2001:db8::7", 1))
    assert not trust.knows(Peer("127.0.0.1", 1))
    assert Trust.everyone().knows(Peer("198.51.100.1", 1))


def test_a_network_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="192"):
        Trust(("192.0.2.0/240",))


def test_auth_sys_is_too_weak_from_elsewhere() -> None:
    with pytest.raises(AuthenticationFailed) as caught:
        Trust().judge(ALICE, known=False, process=None)
    assert caught.value.auth_stat is AuthStat.AUTH_TOOWEAK


def test_users_of_trusted_networks_are_believed_but_root_is_nobody() -> None:
    assert Trust().judge(ALICE, known=True, process=None) is ALICE
    assert Trust().judge(ROOT, known=True, process=None) == AuthSys(0, "here", NOBODY, NOBODY)
    assert Trust(squash_root=False).judge(ROOT, known=True, process=None) is ROOT


def test_a_local_process_cannot_claim_to_be_somebody_else() -> None:
    with pytest.raises(AuthenticationFailed) as caught:
        Trust().judge(ALICE, known=True, process=PeerCredentials(1, 1001, 100))
    assert caught.value.auth_stat is AuthStat.AUTH_BADCRED
    with pytest.raises(AuthenticationFailed):
        Trust().judge(ROOT, known=True, process=PeerCredentials(1, 1001, 100))


def test_over_a_local_socket_the_kernel_vouches_for_root() -> None:
    assert Trust().judge(ROOT, known=True, process=PeerCredentials(1, 0, 0)) is ROOT
    assert Trust().judge(ALICE, known=True, process=PeerCredentials(1, 0, 0)) is ALICE
    assert Trust().judge(ALICE, known=True, process=PeerCredentials(1, 1000, 100)) is ALICE
