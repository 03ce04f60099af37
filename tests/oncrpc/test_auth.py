from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oncrpc.auth import AUTH_NONE, AuthDH, AuthShort, AuthSys, encode_opaque_auth
from oncrpc.errors import AuthenticationFailed, AuthStat

WORDS = st.integers(0, 2**32 - 1)


def refused(body: bytes) -> AuthStat | int:
    with pytest.raises(AuthenticationFailed) as caught:
        AuthSys.decode(body)
    return caught.value.auth_stat


class TestAuthSys:
    """RFC 5531, appendix A."""

    @given(WORDS, st.binary(max_size=255), WORDS, WORDS, st.lists(WORDS, max_size=16))
    def test_what_is_encoded_is_decoded_again(
        self, stamp: int, name: bytes, uid: int, gid: int, gids: list[int]
    ) -> None:
        credential = AuthSys(stamp, name.decode("utf-8", "surrogateescape"), uid, gid, tuple(gids))
        assert AuthSys.decode(credential.encode()) == credential

    def test_the_largest_one_fits_into_400_bytes(self) -> None:
        assert len(AuthSys(0, "x" * 255, 0, 0, (0,) * 16).encode()) <= 400

    def test_a_name_over_255_bytes_is_a_bad_credential(self) -> None:
        assert refused(bytes(4) + (256).to_bytes(4, "big") + bytes(256 + 12)) is AuthStat.AUTH_BADCRED

    def test_seventeen_gids_are_a_bad_credential(self) -> None:
        assert refused(bytes(16) + (17).to_bytes(4, "big") + bytes(68)) is AuthStat.AUTH_BADCRED

    @pytest.mark.parametrize("count", [2**32 - 1, 2**31, 2**30])
    def test_a_count_that_nothing_follows_is_a_bad_credential(self, count: int) -> None:
        assert refused(bytes(16) + count.to_bytes(4, "big")) is AuthStat.AUTH_BADCRED
        assert refused(bytes(4) + count.to_bytes(4, "big")) is AuthStat.AUTH_BADCRED

    def test_a_body_cut_anywhere_is_a_bad_credential(self) -> None:
        body = AuthSys(1, "krypton", 2, 3, (4, 5)).encode()
        for size in range(len(body)):
            assert refused(body[:size]) is AuthStat.AUTH_BADCRED

    def test_bytes_that_no_count_explains_are_a_bad_credential(self) -> None:
        assert refused(AuthSys(1, "krypton", 2, 3).encode() + bytes(4)) is AuthStat.AUTH_BADCRED

    def test_what_does_not_fit_is_not_sent(self) -> None:
        for wrong in (AuthSys(0, "x" * 256, 0, 0), AuthSys(0, "", 0, 0, (0,) * 17), AuthSys(0, "", -1, 0)):
            with pytest.raises(ValueError, match=r"AUTH_SYS|allowed"):
                wrong.encode()

    def test_the_identity_of_this_process_is_its_effective_one(self) -> None:
        current = AuthSys.current()
        assert (current.uid, current.gid) == (os.geteuid(), os.getegid())
        assert AuthSys.decode(current.encode()) == current


class TestAuthDH:
    """RFC 2695, section 2.1."""

    @pytest.mark.parametrize("credential", [AuthDH("unix.1@x", b"12345678", b"1234"), AuthDH(nickname=7)])
    def test_what_is_encoded_is_decoded_again(self, credential: AuthDH) -> None:
        assert AuthDH.decode(credential.encode()) == credential

    def test_a_body_cut_anywhere_is_a_bad_credential(self) -> None:
        body = AuthDH("unix.1@x", b"12345678", b"1234").encode()
        for size in range(len(body)):
            with pytest.raises(AuthenticationFailed) as caught:
                AuthDH.decode(body[:size])
            assert caught.value.auth_stat is AuthStat.AUTH_BADCRED


def test_nothing_is_said_by_auth_none() -> None:
    assert encode_opaque_auth(AUTH_NONE.flavor, AUTH_NONE.encode()) == bytes(8)


def test_bodies_are_padded_and_padding_is_not_counted() -> None:
    assert encode_opaque_auth(2, AuthShort(b"abcde").encode()) == b"\0\0\0\x02\0\0\0\x05abcde\0\0\0"


def test_a_body_over_400_bytes_is_not_sent() -> None:
    with pytest.raises(ValueError, match="401 bytes"):
        encode_opaque_auth(1, bytes(401))
