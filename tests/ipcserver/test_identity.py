"""From a credential and a place to a uid and gids."""

from __future__ import annotations

import os
from ipaddress import ip_network
from typing import Any

import pytest

from ipcserver.identity import Identities, Identity, Trust, TrustError
from oncrpc.auth import AUTH_NONE, AuthSys
from oncrpc.errors import AuthenticationFailed, AuthStat
from oncrpc.program import Peer, PeerCredentials
from oncrpc.trust import NOBODY


class _Connection:
    """As much of a connection as an identity needs."""

    def __init__(self, credentials: PeerCredentials | None) -> None:
        self.peer_credentials = credentials


class _Call:
    """As much of a call as an identity needs."""

    def __init__(self, credential: object, host: str, kernel: PeerCredentials | None = None) -> None:
        self.credential = credential
        self.peer = Peer(host, 1023)
        self.connection = None if kernel is None else _Connection(kernel)


def sys_credential(uid: int, gid: int = 100, gids: tuple[int, ...] = (4, 20)) -> AuthSys:
    """Return an AUTH_SYS credential."""
    return AuthSys(stamp=1, machinename="sun", uid=uid, gid=gid, gids=gids)


def identify(call: Any, *trusts: Trust) -> Identity:
    """Ask who makes a call."""
    return Identities(trusts).of(call)


class TestNetworks:
    """RFC 5531, section 14: AUTH_SYS is only the client's word."""

    @pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "::ffff:127.0.0.1"])
    def test_on_loopback_auth_sys_is_believed(self, host: str) -> None:
        assert identify(_Call(sys_credential(1000), host)) == Identity(1000, 100, (4, 20))

    @pytest.mark.parametrize("host", ["192.0.2.1", "2001:db8::1", "fe80::1%eth0"])
    def test_elsewhere_nobody_is_believed(self, host: str) -> None:
        for credential in (sys_credential(1000), AUTH_NONE):
            with pytest.raises(AuthenticationFailed) as caught:
                identify(_Call(credential, host))
            assert caught.value.auth_stat is AuthStat.AUTH_TOOWEAK

    def test_a_trusted_network_is_believed(self) -> None:
        trust = Trust(ip_network("192.0.2.0/24"))
        assert identify(_Call(sys_credential(7), "192.0.2.9"), trust).uid == 7

    def test_a_privileged_source_port_raises_nothing(self) -> None:
        call = _Call(sys_credential(0), "192.0.2.1")
        call.peer = Peer("192.0.2.1", 700)
        with pytest.raises(AuthenticationFailed):
            identify(call)

    def test_the_answer_is_the_same_the_second_time(self) -> None:
        identities = Identities()
        call: Any = _Call(sys_credential(5), "127.0.0.1")
        assert identities.of(call) == identities.of(call)

    def test_no_identity_is_nobody(self) -> None:
        assert identify(_Call(AUTH_NONE, "127.0.0.1")) == Identity(NOBODY, NOBODY)


class TestRoot:
    """A claimed uid 0 becomes nobody unless the operator says otherwise."""

    def test_root_is_squashed_with_its_groups(self) -> None:
        assert identify(_Call(sys_credential(0, 0, (0, 1)), "127.0.0.1")) == Identity(NOBODY, NOBODY, ())

    def test_root_is_believed_where_the_operator_says_so(self) -> None:
        trust = Trust.parse("127.0.0.0/8:root")
        assert identify(_Call(sys_credential(0, 0, ()), "127.0.0.1"), trust) == Identity(0, 0, ())

    def test_a_uid_that_is_mapped_to_root_is_squashed_too(self) -> None:
        assert identify(_Call(sys_credential(5), "127.0.0.1"), Trust.parse("127.0.0.0/8:5=0")).uid == NOBODY


class TestLocalSocket:
    """The kernel names the peer."""

    def test_the_kernels_word_wins_over_the_credential(self) -> None:
        kernel = PeerCredentials(1, 1000, 1000)
        assert identify(_Call(sys_credential(0), "", kernel)).uid == 1000

    def test_groups_that_a_user_claims_on_his_own_socket_are_not_believed(self) -> None:
        kernel = PeerCredentials(1, NOBODY, NOBODY)
        assert 4 not in identify(_Call(sys_credential(NOBODY, gids=(4,)), "", kernel)).gids

    def test_root_may_speak_for_anybody(self) -> None:
        kernel = PeerCredentials(1, 0, 0)
        assert identify(_Call(sys_credential(1000), "", kernel)) == Identity(1000, 100, (4, 20))

    def test_root_is_root(self) -> None:
        assert identify(_Call(AUTH_NONE, "", PeerCredentials(1, 0, 0))).uid == 0

    def test_a_user_that_the_system_does_not_know_has_no_groups(self) -> None:
        assert identify(_Call(AUTH_NONE, "", PeerCredentials(1, 3_999_999, 5))) == Identity(3_999_999, 5, ())

    def test_a_known_users_groups_come_from_the_system(self) -> None:
        found = identify(_Call(AUTH_NONE, "", PeerCredentials(1, 0, 0)))
        assert set(found.gids) == set(os.getgrouplist("root", 0))


class TestParse:
    """``NETWORK[:root][:CLAIMED=LOCAL,...]``."""

    @pytest.mark.parametrize(
        ("text", "trust"),
        [
            ("192.0.2.0/24", Trust(ip_network("192.0.2.0/24"))),
            ("192.0.2.7", Trust(ip_network("192.0.2.7/32"))),
            ("192.0.2.0/24:root", Trust(ip_network("192.0.2.0/24"), root=True)),
            ("192.0.2.0/24:1=2,3=4", Trust(ip_network("192.0.2.0/24"), uids={1: 2, 3: 4})),
            ("[2001:db8::]/32:root:1=2", Trust(ip_network("2001:db8::/32"), root=True, uids={1: 2})),
            ("[::1]", Trust(ip_network("::1/128"))),
        ],
    )
    def test_the_forms_that_are_documented_are_read(self, text: str, trust: Trust) -> None:
        assert Trust.parse(text) == trust

    @pytest.mark.parametrize("text", ["", "host", "192.0.2.0/33", "192.0.2.0/24:admin", "192.0.2.0/24:1=x"])
    def test_anything_else_is_refused(self, text: str) -> None:
        with pytest.raises(TrustError):
            Trust.parse(text)
