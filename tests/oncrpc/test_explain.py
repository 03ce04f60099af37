"""Messages taken apart for people."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

import xdr
from ipcserver._gen import ipc as gen
from oncrpc.auth import AUTH_NONE, AuthSys, Credential, encode_opaque_auth
from oncrpc.explain import Explanation, Part, Programs, explain_message, explain_stream
from oncrpc.records import frame_record
from rpcbind_reg._gen.portmap import PMAP_PROG_2_Server
from rpcbind_reg._gen.rpcbind import RPCBPROG_3_Server, RPCBPROG_4_Server

IPC = Programs([gen.IPCPROG_1_Server])
SEND = (536871512, 1, 11)
SUN = AuthSys(1, "sun", 1000, 100, (4,))
ARGUMENTS = xdr.encode(
    gen.ripc_msgsnd_args,
    gen.ripc_msgsnd_args(gen.ripc_ctx(gen.ripc_hyper(0, 0), 0, 0, 77), 5, 0, 0, gen.ripc_hyper(0, 7), b"hello"),
)


def call(arguments: bytes = ARGUMENTS, *, credential: Credential = SUN, procedure: int = 11, rpcvers: int = 2) -> bytes:
    """Return a call message."""
    head = struct.pack(">6I", 7, 0, rpcvers, SEND[0], SEND[1], procedure)
    return head + encode_opaque_auth(credential.flavor, credential.encode()) + bytes(8) + arguments


def accepted(stat: int, rest: bytes = b"") -> bytes:
    """Return an accepted reply."""
    return struct.pack(">6I", 7, 1, 0, 0, 0, stat) + rest


def part(found: Explanation, name: str) -> Part:
    """Return the first part of a name."""
    return next(part for part in found.parts if part.name == name)


class TestPrograms:
    """Names and numbers."""

    def test_a_version_has_the_name_that_it_was_declared_with(self) -> None:
        """RFC 1833 calls 100000 PMAP_PROG in version 2 and RPCBPROG in versions 3 and 4."""
        found = Programs([PMAP_PROG_2_Server, RPCBPROG_3_Server, RPCBPROG_4_Server])
        names = [found.name(100000, version) for version in (2, 3, 4)]
        assert names == ["PMAP_PROG", "RPCBPROG", "RPCBPROG"]
        assert found.name(100000, 9) == "PMAP_PROG", "a version that is not known has the program's first name"
        assert found.name(100001, 1) == "100001"
        assert found.calls()[0] == "PMAP_PROG.2.PMAPPROC_NULL"
        assert "RPCBPROG.4.RPCBPROC_GETTIME" in found.calls()
        assert {found.number(each)[:2] for each in found.calls()} == {(100000, 2), (100000, 3), (100000, 4)}


class TestCall:
    """RFC 5531, section 9: call_body."""

    def test_every_byte_of_a_message_belongs_to_one_part(self) -> None:
        message = call()
        covered = [
            place
            for part in explain_message(message, IPC).parts
            for place in range(part.offset, part.offset + part.size)
        ]
        assert covered == list(range(len(message)))

    def test_the_title_names_program_version_and_procedure(self) -> None:
        found = explain_message(call(), IPC)
        assert (found.kind, found.xid, found.title) == ("CALL", 7, "IPCPROG.1 RIPC_MSGSND")
        assert (found.program, found.version, found.procedure) == SEND

    def test_the_credential_is_a_claim_field_by_field(self) -> None:
        found = explain_message(call(), IPC)
        assert [part(found, name).value for name in ("machinename", "uid", "gid", "gids[0]")] == [
            "sun",
            "1000",
            "100",
            "4",
        ]
        assert "claim" in part(found, "uid").sentence

    def test_arguments_have_the_names_of_the_x_file(self) -> None:
        found = explain_message(call(), IPC)
        assert part(found, "pid").value == "77"
        assert part(found, "mtext").value == "'hello'"

    def test_bytes_behind_the_arguments_are_shown_as_surplus(self) -> None:
        assert part(explain_message(call(ARGUMENTS + bytes(8)), IPC), "surplus").size == 8

    def test_an_unknown_programs_arguments_are_bytes(self) -> None:
        found = explain_message(call(), Programs())
        assert part(found, "arguments").size == len(ARGUMENTS)
        assert found.title == "536871512.1 procedure 11"

    def test_another_rpc_version_is_told(self) -> None:
        assert "RPC_MISMATCH" in explain_message(call(rpcvers=3), IPC).fault


class TestFaults:
    """Where a decoder stops is the last part."""

    def test_garbage_arguments_are_shown_up_to_the_fault(self) -> None:
        found = explain_message(call(ARGUMENTS[:-9]), IPC)
        assert found.parts[-1].fault
        assert "mtext" in found.fault
        assert part(found, "id").value == "5"

    def test_a_message_cut_anywhere_is_explained_up_to_the_cut(self) -> None:
        message = call()
        for size in range(len(message)):
            found = explain_message(message[:size], IPC)
            assert found.fault
            assert found.parts[-1].fault

    def test_seventeen_groups_are_one_too_many(self) -> None:
        body = struct.pack(">5I", 0, 0, 0, 0, 17) + bytes(68)
        message = struct.pack(">6I", 7, 0, 2, *SEND) + struct.pack(">2I", 1, len(body)) + body + bytes(8)
        assert "16 are the most" in explain_message(message, IPC).fault

    def test_false_counts_inside_a_credential_do_not_reach_beyond_it(self) -> None:
        body = struct.pack(">2I", 0, 200)
        message = struct.pack(">6I", 7, 0, 2, *SEND) + struct.pack(">2I", 1, len(body)) + body + bytes(300)
        assert "200 bytes announced, 0 are left" in explain_message(message, IPC).fault

    @given(st.binary(max_size=300))
    def test_any_bytes_are_explained_without_an_error(self, data: bytes) -> None:
        explain_message(data, IPC, call=SEND)
        list(explain_stream(data, IPC))

    def test_a_million_elements_are_not_a_million_rows(self) -> None:
        vals = [0] * 20_000
        arguments = xdr.encode(
            gen.ripc_setall_args, gen.ripc_setall_args(gen.ripc_ctx(gen.ripc_hyper(0, 0), 0, 0, 1), 1, vals)
        )
        assert len(explain_message(call(arguments, procedure=29), IPC).parts) <= 5_000


class TestReply:
    """RFC 5531, section 9: reply_body."""

    def test_results_are_decoded_when_the_call_is_known(self) -> None:
        rest = xdr.encode(gen.ripc_status, gen.ripc_status.RIPC_EAGAIN)
        found = explain_message(accepted(0, rest), IPC, call=SEND)
        assert found.title == "SUCCESS"
        assert found.parts[-1].value == "RIPC_EAGAIN (5)"

    def test_without_its_call_they_are_bytes(self) -> None:
        assert part(explain_message(accepted(0, bytes(4)), IPC), "results").size == 4

    def test_a_mismatch_shows_its_range(self) -> None:
        found = explain_message(accepted(2, struct.pack(">2I", 1, 3)), IPC)
        assert (found.title, part(found, "low").value, part(found, "high").value) == ("PROG_MISMATCH", "1", "3")

    @pytest.mark.parametrize(
        ("rest", "title"), [((1, 1, 5), "AUTH_TOOWEAK"), ((1, 0, 2, 2), "RPC_MISMATCH"), ((1, 1, 99), "auth_stat 99")]
    )
    def test_a_denial_says_why(self, rest: tuple[int, ...], title: str) -> None:
        assert explain_message(struct.pack(f">{2 + len(rest)}I", 7, 1, *rest), IPC).title == title


class TestStream:
    """RFC 5531, section 11: record marks."""

    def test_each_record_is_an_explanation_with_its_mark_first(self) -> None:
        found = list(explain_stream(frame_record(call()) + frame_record(call(procedure=0)), IPC))
        assert [one.title for one in found] == ["IPCPROG.1 RIPC_MSGSND", "IPCPROG.1 RIPC_NULL"]
        assert [one.parts[0].name for one in found] == ["record mark", "record mark"]
        assert found[1].parts[0].offset == len(call()) + 4

    def test_fragments_are_put_together_and_offsets_stay_those_of_the_stream(self) -> None:
        message = call()
        stream = struct.pack(">I", 10) + message[:10] + frame_record(message[10:])
        (found,) = explain_stream(stream, IPC)
        assert found.title == "IPCPROG.1 RIPC_MSGSND"
        assert not found.fault
        assert [part.offset for part in found.parts if part.name == "record mark"] == [0, 14]

    def test_a_stream_that_ends_in_a_record_says_so(self) -> None:
        found = list(explain_stream(frame_record(call(credential=AUTH_NONE))[:60], IPC))
        assert found[-1].fault

    def test_a_reply_finds_its_call_by_xid(self) -> None:
        stream = frame_record(accepted(0, bytes(4)))
        (found,) = explain_stream(stream, IPC, calls={7: SEND})
        assert found.parts[-1].value == "RIPC_OK (0)"
