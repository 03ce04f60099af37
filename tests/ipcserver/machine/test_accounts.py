"""What is used, and by whom."""

from __future__ import annotations

import pytest

from ipcserver._gen.ipc import RIPC_ENOMEM, RIPC_EQUOTA
from ipcserver.machine import Limits
from ipcserver.machine.accounts import Accounts
from ipcserver.machine.errors import Refused


@pytest.fixture
def accounts() -> Accounts:
    return Accounts(
        Limits(
            owner_objects=1, owner_sessions=1, owner_waiters=1, owner_memory=100, message_memory=150, segment_memory=150
        )
    )


@pytest.mark.parametrize("kind", ["object", "session", "waiter"])
def test_one_more_than_the_limit_is_refused_and_root_is_not(accounts: Accounts, kind: str) -> None:
    add, remove = getattr(accounts, f"add_{kind}"), getattr(accounts, f"remove_{kind}")
    add(5)
    with pytest.raises(Refused) as refused:
        add(5)
    assert refused.value.status is RIPC_EQUOTA
    add(6)
    add(0)
    add(0)
    remove(5)
    add(5)


@pytest.mark.parametrize("kind", ["message", "segment"])
def test_memory_is_bounded_for_each_uid_and_in_all(accounts: Accounts, kind: str) -> None:
    require = getattr(accounts, f"require_{kind}_memory")
    charge = getattr(accounts, f"charge_{kind}")
    require(5, 100)
    charge(5, 60)
    with pytest.raises(Refused) as refused:
        require(5, 41)
    assert refused.value.status is RIPC_EQUOTA
    require(6, 90)
    with pytest.raises(Refused) as refused:
        require(0, 91)
    assert refused.value.status is RIPC_ENOMEM


def test_an_account_with_nothing_in_it_is_closed(accounts: Accounts) -> None:
    for uid in range(1000):
        accounts.add_object(uid)
        accounts.charge_message(uid, 10)
        accounts.charge_message(uid, -10)
        accounts.remove_object(uid)
    assert not accounts._owners
