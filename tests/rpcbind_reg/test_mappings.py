"""The table: RFC 1833, section 2.2.1, as rpcbind keeps it, and its bounds."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rpcbind_reg.mappings import Mapping, MappingLimits, Mappings, SetOutcome, owner_name

TCP = Mapping(300000, 1, "tcp", "0.0.0.0.4.1", "1000")
UDP = Mapping(300000, 1, "udp", "0.0.0.0.4.2", "1000")


def table(*mappings: Mapping, limits: MappingLimits | None = None) -> Mappings:
    made = Mappings(limits or MappingLimits())
    for mapping in mappings:
        assert made.set(mapping).granted, mapping
    return made


class TestSet:
    """RPCBPROC_SET."""

    def test_a_mapping_is_found_after_it_was_set(self) -> None:
        assert table(TCP).find(300000, 1, "tcp") == TCP

    def test_the_same_address_again_is_granted_and_keeps_its_owner(self) -> None:
        made = table(TCP)
        assert made.set(Mapping(300000, 1, "tcp", TCP.uaddr, "2000")) is SetOutcome.SAME
        assert [*made] == [TCP]

    def test_another_address_is_refused_even_to_the_superuser(self) -> None:
        made = table(TCP)
        assert made.set(Mapping(300000, 1, "TCP", "0.0.0.0.4.9", "superuser")) is SetOutcome.TAKEN
        assert [*made] == [TCP]

    @pytest.mark.parametrize("netid", ["", "t\ncp", "té", "x" * 129])
    def test_a_netid_has_1_to_128_printable_octets(self, netid: str) -> None:
        assert table().set(Mapping(300000, 1, netid, "0.0.0.0.4.1")) is SetOutcome.BAD_NETID

    @pytest.mark.parametrize("uaddr", ["", "bar", "0.0.0.0.0.0", "::.4.1", "0.0.0.0.4.1" + " " * 300])
    def test_an_address_must_be_one_of_its_netid(self, uaddr: str) -> None:
        assert table().set(Mapping(300000, 1, "tcp", uaddr)) is SetOutcome.BAD_ADDRESS

    def test_netids_of_the_administrator_are_taken_as_they_are(self) -> None:
        assert table().set(Mapping(300000, 1, "x25", "0190.17")) is SetOutcome.ADDED
        assert table().set(Mapping(300000, 1, "x25", "a\nb")) is SetOutcome.BAD_ADDRESS

    def test_the_registry_itself_cannot_be_registered(self) -> None:
        forged = Mapping(100000, 5, "tcp", "0.0.0.0.4.1", "superuser")
        assert table().set(forged) is SetOutcome.RESERVED
        assert table().set(forged, reserved=True) is SetOutcome.ADDED


class TestUnset:
    """RPCBPROC_UNSET."""

    def test_one_netid_goes_and_the_others_stay(self) -> None:
        made = table(TCP, UDP)
        assert made.unset(300000, 1, "tcp", "1000").removed == (TCP,)
        assert [*made] == [UDP]

    def test_an_empty_netid_means_all(self) -> None:
        made = table(TCP, UDP)
        assert made.unset(300000, 1, "", "1000").removed == (TCP, UDP)
        assert len(made) == 0

    def test_what_is_not_there_is_granted(self) -> None:
        assert table().unset(300000, 1, "", "1000").granted

    def test_somebody_elses_entry_stays(self) -> None:
        made = table(TCP)
        outcome = made.unset(300000, 1, "", "2000")
        assert (outcome.granted, outcome.refused, [*made]) == (False, (TCP,), [TCP])

    def test_own_entries_go_beside_somebody_elses(self) -> None:
        theirs = Mapping(300000, 1, "tcp6", "::.4.1", "2000")
        made = table(theirs, TCP)
        assert made.unset(300000, 1, "", "1000").removed == (TCP,)
        assert [*made] == [theirs]

    def test_the_superuser_removes_everybodys(self) -> None:
        assert table(TCP).unset(300000, 1, "tcp", "superuser").removed == (TCP,)

    def test_the_registry_itself_cannot_be_removed(self) -> None:
        made = Mappings()
        made.set(Mapping(100000, 4, "tcp", "0.0.0.0.0.111", "superuser"), reserved=True)
        assert not made.unset(100000, 4, "", "superuser").granted
        assert len(made) == 1


class TestLookups:
    """GETPORT, GETADDR, GETVERSADDR, GETADDRLIST."""

    def test_another_version_is_better_than_none_and_the_last_registered_wins(self) -> None:
        made = table(TCP, Mapping(300000, 3, "tcp", "0.0.0.0.4.3"), Mapping(300000, 2, "tcp", "0.0.0.0.4.2"))
        found = made.find(300000, 9, "tcp")
        assert found is not None
        assert found.version == 2

    def test_this_very_version_or_none(self) -> None:
        made = table(TCP)
        assert made.find_exactly(300000, 1, "TCP") == TCP
        assert made.find_exactly(300000, 2, "tcp") is None
        assert made.find(300000, 1, "udp") is None

    def test_transports_of_a_version_come_in_the_order_of_registration(self) -> None:
        assert table(UDP, TCP, Mapping(300000, 2, "tcp", "0.0.0.0.4.3")).find_transports(300000, 1) == (UDP, TCP)

    def test_versions_are_the_true_range(self) -> None:
        made = table(TCP, Mapping(300000, 7, "tcp", "0.0.0.0.4.3"))
        assert made.versions(300000, "tcp") == (1, 7)
        assert made.versions(300000, "udp") is None

    def test_a_mapping_tells_its_port(self) -> None:
        assert TCP.port == 1025
        assert Mapping(300000, 1, "local", "/run/x").port is None
        assert Mapping(300000, 1, "x25", "017").port is None
        assert str(TCP) == "program 300000 version 1 on tcp at 0.0.0.0.4.1"


class TestBounds:
    """Goal S12: the table is bounded by owner, and ten thousand entries do not slow a lookup."""

    def test_one_owner_cannot_fill_the_table_for_others(self) -> None:
        made = Mappings(MappingLimits(entries_per_owner=2))
        outcomes = [made.set(Mapping(300000 + n, 1, "tcp", "0.0.0.0.4.1", "unknown")) for n in range(3)]
        assert outcomes == [SetOutcome.ADDED, SetOutcome.ADDED, SetOutcome.FULL_OWNER]
        assert made.set(Mapping(400000, 1, "tcp", "0.0.0.0.4.1", "1000")).granted

    def test_room_comes_back_when_entries_go(self) -> None:
        made = Mappings(MappingLimits(entries_per_owner=1))
        assert made.set(TCP).granted
        made.unset(300000, 1, "", "1000")
        assert made.owned_by("1000") == 0
        assert made.set(UDP).granted

    def test_the_superuser_is_bound_by_the_table_alone(self) -> None:
        made = Mappings(MappingLimits(entries_per_owner=1, entries=3))
        outcomes = [made.set(Mapping(300000 + n, 1, "tcp", "0.0.0.0.4.1", "superuser")) for n in range(4)]
        assert outcomes == [SetOutcome.ADDED] * 3 + [SetOutcome.FULL]

    def test_ten_thousand_registrations_do_not_slow_a_lookup(self) -> None:
        def lookups_take(made: Mappings) -> float:
            start = time.perf_counter()
            for _ in range(2000):
                made.find(300000, 1, "tcp")
                made.find(300000, 99, "tcp")
                made.find_transports(300000, 1)
            return time.perf_counter() - start

        small = table(TCP, UDP)
        large = table(TCP, UDP)
        for number in range(10_000):
            large.set(Mapping(400000 + number % 10, number, "tcp", "0.0.0.0.4.1", "superuser"))
        assert len(large) == 10_002
        best_small = min(lookups_take(small) for _ in range(5))
        best_large = min(lookups_take(large) for _ in range(5))
        assert best_large < 5 * best_small  # a list would be thousands of times slower


COMMANDS = st.lists(
    st.tuples(
        st.booleans(),
        st.integers(1, 2),
        st.integers(1, 2),
        st.sampled_from(["tcp", "udp", ""]),
        st.integers(1, 2),
        st.sampled_from(["1000", "2000", "superuser"]),
    ),
    max_size=40,
)


@given(COMMANDS)
def test_the_table_behaves_as_a_plain_list_of_rules(commands: list[tuple[bool, int, int, str, int, str]]) -> None:
    made = Mappings()
    plain: dict[tuple[int, int, str], tuple[str, str]] = {}
    for is_set, program, version, netid, port, owner in commands:
        uaddr = f"0.0.0.0.4.{port}"
        if is_set:
            key = (program, version, netid)
            granted = bool(netid) and plain.get(key, (uaddr, ""))[0] == uaddr
            if granted:
                plain.setdefault(key, (uaddr, owner))
            assert made.set(Mapping(program, version, netid, uaddr, owner)).granted == granted
        else:
            keys = [key for key in plain if key[:2] == (program, version) and netid in ("", key[2])]
            mine = [key for key in keys if owner in ("superuser", plain[key][1])]
            for key in mine:
                del plain[key]
            assert made.unset(program, version, netid, owner).granted == (mine == keys)
        assert {(m.program, m.version, m.netid): (m.uaddr, m.owner) for m in made} == plain
        for owner_seen in ("1000", "2000", "superuser"):
            assert made.owned_by(owner_seen) == sum(entry[1] == owner_seen for entry in plain.values())


def test_owners_are_written_as_rpcbind_writes_them() -> None:
    assert [owner_name(uid) for uid in (0, 1000, None)] == ["superuser", "1000", "unknown"]
