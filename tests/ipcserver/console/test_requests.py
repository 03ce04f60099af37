"""Who may ask."""

from __future__ import annotations

import pytest

from ipcserver.console.requests import allowed_host, allowed_origin


@pytest.mark.parametrize("host", ["localhost", "localhost:6000", "127.0.0.1:6000", "[::1]:6000", "192.0.2.7"])
def test_addresses_and_localhost_may_be_asked_for(host: str) -> None:
    assert allowed_host(host)


@pytest.mark.parametrize("host", [None, "", "evil.example", "127.0.0.1.evil.example:6000", "[", "a@127.0.0.1.nip.io"])
def test_a_name_that_its_owner_may_point_anywhere_is_refused(host: str | None) -> None:
    assert not allowed_host(host)


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [(None, True), ("http://127.0.0.1:6000", True), ("http://evil.example", False), ("null", False)],
)
def test_only_our_own_page_may_send_a_body(origin: str | None, *, allowed: bool) -> None:
    assert allowed_origin(origin, "127.0.0.1:6000") is allowed
