from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from oncrpc.auth import AuthDH, AuthShort, AuthSys, Credential, encode_opaque_auth
from oncrpc.client import Answered, Failed, StreamClient
from oncrpc.errors import GarbageArguments
from oncrpc.identity import Identity
from oncrpc.limits import Limits
from oncrpc.message import encode_call
from oncrpc.program import LATER, Peer, PeerCredentials, Procedure, Program
from oncrpc.records import frame_record
from oncrpc.replies import parse_reply
from oncrpc.server import Server
from oncrpc.testing import Pipe, call_message
from tests.oncrpc.served import PROGRAM, Notices, Served, Version3, Watcher

if TYPE_CHECKING:
    from collections.abc import Sequence

    from oncrpc.program import Call

ALICE = AuthSys(0, "here", 1000, 100, (4,))


def word(value: int) -> bytes:
    return (value & 0xFFFFFFFF).to_bytes(4, "big")


class Bench:
    """A server with one connection, and what it noticed."""

    def __init__(self, *programs: Program, limits: Limits | None = None, **more: object) -> None:
        self.program = Served()
        self.notices = Notices()
        self.server = Server(
            programs or [self.program, Version3()],
            limits=limits,
            observers=[self.notices],
            **more,  # type: ignore[arg-type]
        )
        self.pipe = Pipe(StreamClient(first_xid=1), self.server)
        self.session = self.pipe.session

    def send(self, *records: bytes) -> list[bytes]:
        """Send records; return the replies, without marks."""
        self.session.receive_data(b"".join(map(frame_record, records)))
        while self.session.run():
            pass
        return self.take()

    def take(self) -> list[bytes]:
        data = b"".join(self.session.data_to_send())
        self.session.bytes_sent(self.session.unsent)
        replies = []
        while data:
            size = int.from_bytes(data[:4], "big") & 0x7FFFFFFF
            replies.append(data[4 : 4 + size])
            data = data[4 + size :]
        return replies

    def call(self, procedure: int, arguments: bytes = b"", credential: Credential | None = None) -> bytes:
        """Call version 1; return the one reply's bytes behind the xid."""
        more = {} if credential is None else {"credential": credential}
        (reply,) = self.send(call_message(PROGRAM, 1, procedure, arguments, xid=77, **more))
        assert reply[:8] == word(77) + word(1)
        return reply[8:]


ACCEPTED = bytes(12)
SUCCESS = ACCEPTED + word(0)
GARBAGE = ACCEPTED + word(4)
FAILED = ACCEPTED + word(5)


def denied(auth_stat: int) -> bytes:
    return word(1) + word(1) + word(auth_stat)


class TestOutcomes:
    """RFC 5531, section 9: each way that a call may end."""

    def test_a_call_gets_its_result(self) -> None:
        bench = Bench()
        assert bench.call(2, word(2) + word(3)) == SUCCESS + word(5)
        assert bench.call(1, word(5) + b"abcde\0\0\0") == SUCCESS + word(5) + b"abcde\0\0\0"

    def test_several_arguments_follow_each_other(self) -> None:
        assert Bench().call(3, word(9) + word(4)) == SUCCESS + word(5)

    def test_null_answers_in_every_version_even_if_it_is_not_declared(self) -> None:
        bench = Bench()
        assert bench.call(0) == SUCCESS
        assert bench.send(call_message(PROGRAM, 3, 0)) == [word(1) + word(1) + SUCCESS]

    def test_an_unknown_program_is_unavailable(self) -> None:
        assert Bench().send(call_message(99, 1, 0)) == [word(1) + word(1) + ACCEPTED + word(1)]

    @pytest.mark.parametrize("version", [0, 2, 4, 2**32 - 1])
    def test_an_unknown_version_is_a_mismatch_with_the_true_range(self, version: int) -> None:
        assert Bench().send(call_message(PROGRAM, version, 0)) == [
            word(1) + word(1) + ACCEPTED + word(2) + word(1) + word(3)
        ]

    def test_an_unknown_procedure_is_unavailable(self) -> None:
        assert Bench().call(99) == ACCEPTED + word(3)

    def test_what_is_not_served_is_noticed_by_what_is_unknown_and_a_probe_for_versions_is_routine(self) -> None:
        """Clients that do not know the versions of a program call one that is not there, and read the range."""
        bench = Bench()
        bench.send(
            call_message(99, 1, 1),
            call_message(PROGRAM, 0, 0),
            call_message(PROGRAM, 2**32 - 1, 0),
            call_message(PROGRAM, 1, 99),
        )
        assert [(notice.kind, notice.routine) for notice in bench.notices.notices] == [
            ("unknown program", False),
            ("unknown version", True),
            ("unknown version", True),
            ("unknown procedure", False),
        ]
        assert [notice.text for notice in bench.notices.notices[:2]] == [
            "program 99 version 1 procedure 1: PROG_UNAVAIL",
            f"program {PROGRAM} version 0 procedure 0: PROG_MISMATCH, versions 1 to 3 are served",
        ]

    def test_another_rpc_version_is_a_mismatch_of_2_to_2(self) -> None:
        message = bytearray(call_message(PROGRAM, 1, 0))
        message[8:12] = word(3)
        assert Bench().send(bytes(message)) == [word(1) + word(1) + word(1) + word(0) + word(2) + word(2)]

    @pytest.mark.parametrize("arguments", [b"", word(1), word(2**32 - 1), word(5) + b"abc", word(3) + b"abc"])
    def test_arguments_that_do_not_decode_are_garbage(self, arguments: bytes) -> None:
        assert Bench().call(1, arguments) == GARBAGE

    def test_garbage_is_logged_with_the_field_and_the_byte(self) -> None:
        bench = Bench()
        bench.call(2, word(1))
        (notice,) = bench.notices.notices
        assert notice.kind == "garbage arguments"
        assert "Pair.b" in notice.text
        assert "byte 44" in notice.text

    def test_deep_nesting_is_garbage_and_not_the_end_of_the_stack(self) -> None:
        deep = (word(1) + word(1)) * 100_000 + word(1) + word(0)
        assert Bench().call(9, deep) == GARBAGE
        assert Bench().call(9, (word(7) + word(1)) * 50 + word(1) + word(0)) == SUCCESS + word(7)

    def test_a_procedure_that_fails_is_a_system_error_logged_once_with_its_traceback(self) -> None:
        bench = Bench()
        assert bench.call(5, word(0)) == FAILED
        (notice,) = bench.notices.notices
        assert isinstance(notice.error, ValueError)
        assert notice.error.__traceback__ is not None

    def test_a_procedure_may_choose_its_outcome(self) -> None:
        bench = Bench()
        assert bench.call(5, word(1)) == ACCEPTED + word(3)
        assert bench.call(5, word(2)) == GARBAGE
        assert bench.notices.notices == []

    def test_a_result_that_does_not_fit_its_declaration_is_a_system_error(self) -> None:
        bench = Bench()
        bench.program.result = "no number"
        assert bench.call(10) == FAILED
        assert bench.notices.notices[0].kind == "handler failed"

    def test_a_result_over_the_limit_is_a_system_error(self) -> None:
        bench = Bench(limits=Limits(max_record=1000))
        assert bench.call(7, word(2000)) == FAILED
        assert bench.call(7, word(100))[:16] == SUCCESS

    def test_a_one_way_procedure_gets_no_reply(self) -> None:
        bench = Bench()
        assert bench.send(*[call_message(PROGRAM, 1, 6)] * 5, call_message(PROGRAM, 1, 0)) == [
            word(1) + word(1) + SUCCESS
        ]
        assert bench.program.count == 5

    def test_a_reply_is_never_answered(self) -> None:
        bench = Bench()
        assert bench.send(word(1) + word(1) + bytes(16)) == []
        assert bench.server.counters.replies_ignored == 1
        assert not bench.session.finished

    @pytest.mark.parametrize("size", [*range(8), *range(12, 40)])
    def test_a_message_cut_in_its_header_ends_the_connection_only(self, size: int) -> None:
        bench = Bench()
        assert bench.send(call_message(PROGRAM, 1, 0)[:size]) == []
        assert bench.session.finished
        assert bench.server.counters.malformed == 1

    def test_replies_to_calls_before_a_malformed_one_are_sent(self) -> None:
        bench = Bench()
        assert len(bench.send(call_message(PROGRAM, 1, 0), b"x", call_message(PROGRAM, 1, 0))) == 1

    def test_any_message_type_but_two_is_malformed(self) -> None:
        bench = Bench()
        assert bench.send(word(1) + word(2) + bytes(40)) == []
        assert bench.session.finished


class TestSurplus:
    """Bytes after the arguments: pyNfsClient sends eight of them, and no C server minds."""

    def test_they_are_ignored_and_counted(self) -> None:
        bench = Bench()
        assert bench.call(2, word(2) + word(3) + bytes(8)) == SUCCESS + word(5)
        assert bench.call(0, bytes(4)) == SUCCESS
        assert bench.call(0, bytes(4)) == SUCCESS
        assert (bench.server.counters.surplus_calls, bench.server.counters.surplus_bytes) == (3, 16)

    def test_a_strict_program_refuses_them(self) -> None:
        class Strict(Served):
            _strict = True

        bench = Bench(Strict())
        assert bench.call(2, word(2) + word(3) + bytes(8)) == GARBAGE
        assert bench.call(0, bytes(4)) == GARBAGE
        assert bench.call(0) == SUCCESS

    def test_padding_is_not_looked_at_except_by_strict_programs(self) -> None:
        class Strict(Served):
            _strict = True

        assert Bench().call(1, word(1) + b"axxx") == SUCCESS + word(1) + b"a\0\0\0"
        assert Bench(Strict()).call(1, word(1) + b"axxx") == GARBAGE


class TestAuthentication:
    def test_an_accepted_auth_sys_credential_is_the_callers_identity(self) -> None:
        bench = Bench()
        for _ in range(2):
            assert bench.call(1, bytes(4), ALICE) == SUCCESS + bytes(4)
        assert [call.credential for call in bench.program.calls] == [ALICE, ALICE]

    def test_callers_are_not_mixed_up_by_the_memory_of_headers(self) -> None:
        bench = Bench()
        callers = [AuthSys(0, "here", uid, 100, (uid,)) for uid in (1, 2, 1, 3, 2)]
        bench.send(*(call_message(PROGRAM, 1, 1, bytes(4), credential=caller) for caller in callers))
        assert [call.credential for call in bench.program.calls] == callers

    @pytest.mark.parametrize("body", [b"", bytes(400), word(0) + word(300) + bytes(300)])
    def test_a_malformed_auth_sys_body_is_a_bad_credential_and_the_connection_stays(self, body: bytes) -> None:
        bench = Bench()
        message = encode_call(1, PROGRAM, 1, 0, credential=encode_opaque_auth(1, body))
        assert bench.send(message, call_message(PROGRAM, 1, 0)) == [
            word(1) + word(1) + denied(1),
            word(1) + word(1) + SUCCESS,
        ]

    def test_an_unknown_flavor_is_a_rejected_credential(self) -> None:
        message = encode_call(1, PROGRAM, 1, 0, credential=encode_opaque_auth(12345, b"abc"))
        assert Bench().send(message) == [word(1) + word(1) + denied(2)]

    def test_the_probe_for_tls_is_refused_as_rfc_9289_wants_it_of_servers_without(self) -> None:
        message = encode_call(1, PROGRAM, 1, 0, credential=encode_opaque_auth(7, b""))
        assert Bench().send(message) == [word(1) + word(1) + denied(2)]

    def test_diffie_hellman_is_understood_and_refused(self) -> None:
        bench = Bench()
        assert bench.call(0, credential=AuthDH("unix.1@x", b"12345678", b"1234")) == denied(5)
        assert bench.call(0, credential=AuthDH(nickname=3)) == denied(2)

    def test_authentication_is_looked_at_before_the_program(self) -> None:
        message = encode_call(1, 99, 1, 0, credential=encode_opaque_auth(12345, b""))
        assert Bench().send(message) == [word(1) + word(1) + denied(2)]

    def test_every_procedure_is_closed_to_auth_sys_from_untrusted_addresses(self) -> None:
        bench = Bench()
        bench.pipe = Pipe(StreamClient(first_xid=1), bench.server, peer=Peer("192.0.2.1", 700))
        bench.session = bench.pipe.session
        for procedure in range(4):
            assert bench.call(procedure, credential=ALICE) == denied(5)
        assert bench.call(0) == SUCCESS

    def test_a_program_that_does_not_look_takes_auth_sys_from_anywhere(self) -> None:
        class Open(Served):
            _any_flavor = True

        bench = Bench(Open())
        bench.pipe = Pipe(StreamClient(first_xid=1), bench.server, peer=Peer("192.0.2.1", 700))
        bench.session = bench.pipe.session
        assert bench.call(0, credential=ALICE) == SUCCESS

    def test_a_header_accepted_from_one_kind_of_peer_is_asked_about_again_for_another(self) -> None:
        bench = Bench()
        assert bench.call(0, credential=ALICE) == SUCCESS
        bench.session = Pipe(StreamClient(first_xid=1), bench.server, peer=Peer("192.0.2.1", 700)).session
        assert bench.call(0, credential=ALICE) == denied(5)
        process = PeerCredentials(1, 1001, 100)
        bench.session = Pipe(
            StreamClient(first_xid=1), bench.server, peer=Peer("", 0), netid="local", process=process
        ).session
        assert bench.call(0, credential=ALICE) == denied(1)


class TestLater:
    """Answers out of order, and none at all."""

    def test_calls_may_be_answered_out_of_order(self) -> None:
        bench = Bench()
        messages = [call_message(PROGRAM, 1, 4, word(1) + bytes([65 + n, 0, 0, 0]), xid=n) for n in range(3)]
        assert bench.send(*messages) == []
        assert len(bench.session.in_hand) == 3
        for call in reversed(bench.program.calls):
            call.reply(b"!")
        assert [reply[:4] for reply in bench.take()] == [word(2), word(1), word(0)]
        assert len(bench.session.in_hand) == 0

    def test_a_call_answered_before_its_procedure_returns_is_answered_in_place(self) -> None:
        class Eager(Served):
            def served_wait(self, call: Call) -> object:
                call.reply(5)
                return LATER

        bench = Bench(Eager())
        null = call_message(PROGRAM, 1, 0)
        replies = bench.send(null, call_message(PROGRAM, 1, 10, xid=2), null)
        assert [reply[:4] for reply in replies] == [word(1), word(2), word(1)]

    def test_a_second_answer_is_a_fault_of_ours(self) -> None:
        bench = Bench()
        bench.send(call_message(PROGRAM, 1, 4, bytes(4)))
        (call,) = bench.program.calls
        call.fail(GarbageArguments())
        with pytest.raises(RuntimeError):
            call.reply(b"")
        assert bench.take() == [word(1) + word(1) + GARBAGE]

    def test_a_late_failure_is_logged_with_its_traceback(self) -> None:
        bench = Bench()
        bench.send(call_message(PROGRAM, 1, 4, bytes(4)))
        bench.program.calls[0].fail(ValueError("late"))
        assert bench.take() == [word(1) + word(1) + FAILED]
        assert isinstance(bench.notices.notices[0].error, ValueError)

    def test_losing_the_connection_cancels_what_is_in_hand_and_drops_its_answer(self) -> None:
        bench = Bench()
        bench.send(call_message(PROGRAM, 1, 4, bytes(4)))
        (call,) = bench.program.calls
        told: list[str] = []
        call.on_cancel(lambda: told.append("cancelled"))
        call.on_cancel(lambda: 1 / 0)
        call.on_hangup(lambda: told.append("hung up"))
        bench.session.connection_lost("reset")
        assert told == ["hung up", "cancelled"]
        call.reply(b"nobody hears it")
        assert bench.take() == []
        assert bench.server.counters.cancelled == 1

    def test_a_call_answered_in_time_is_not_cancelled_later(self) -> None:
        bench = Bench()
        bench.send(call_message(PROGRAM, 1, 4, bytes(4)))
        (call,) = bench.program.calls
        call.on_cancel(lambda: pytest.fail("it was answered"))
        call.reply(b"")
        bench.session.connection_lost("closed")

    def test_an_awaitable_without_anything_that_runs_it_is_a_system_error(self) -> None:
        async def never() -> int:
            return 1

        bench = Bench()
        bench.program.result = awaitable = never()
        assert bench.call(10) == FAILED
        awaitable.close()

    def test_what_runs_awaitables_answers_the_call(self) -> None:
        def run(awaitable: object, call: Call) -> None:
            awaitable.close()  # type: ignore[attr-defined]
            call.reply(6)

        async def never() -> int:
            return 1

        bench = Bench(run_awaitable=run)
        served = Served()
        bench.server = Server([served], run_awaitable=run)
        bench.session = Pipe(StreamClient(first_xid=1), bench.server).session
        served.result = never()
        assert bench.call(10) == SUCCESS + word(6)


class TestAssembly:
    def test_a_version_can_be_served_once_only(self) -> None:
        with pytest.raises(ValueError, match="served already"):
            Server([Served(), Served()])

    def test_a_program_without_one_of_its_methods_is_refused(self) -> None:
        class Lacking(Program):
            program = 1
            version = 1
            procedures = (Procedure(1, "ONE", "one", (), None),)

        with pytest.raises(TypeError, match="one"):
            Server([Lacking()])

    def test_a_null_procedure_that_does_something_is_run(self) -> None:
        class Counting(Served):
            def served_null(self, call: Call) -> None:
                self.count += 1

        program = Counting()
        bench = Bench(program)
        for _ in range(3):
            assert bench.call(0) == SUCCESS
        assert program.count == 3


class TestShort:
    """RFC 5531, appendix A: AUTH_SHORT."""

    @pytest.fixture
    def bench(self) -> Bench:
        from oncrpc.flavors import default_flavors

        return Bench(flavors=default_flavors(short_key=b"0123456789abcdef"))

    def test_a_handle_stands_for_the_credential_it_was_given_for(self, bench: Bench) -> None:
        (reply,) = bench.send(call_message(PROGRAM, 1, 1, bytes(4), credential=ALICE))
        read = parse_reply(reply)
        assert read.verifier_flavor == 2
        short = AuthShort(bytes(read.verifier))
        assert bench.call(1, bytes(4), short)[-8:] == bytes(8)
        assert [call.credential for call in bench.program.calls] == [ALICE, ALICE]

    def test_a_handle_that_is_not_known_is_a_rejected_credential(self, bench: Bench) -> None:
        assert bench.call(0, credential=AuthShort(bytes(16))) == denied(2)


class TestObservers:
    def watched(self) -> tuple[Bench, Watcher]:
        bench = Bench()
        watcher = Watcher()
        bench.server = Server([bench.program], observers=[watcher], clock=iter(range(1000)).__next__)
        bench.session = Pipe(StreamClient(first_xid=1), bench.server).session
        return bench, watcher

    def test_every_call_is_seen_from_start_to_end(self) -> None:
        bench, watcher = self.watched()
        bench.send(
            call_message(PROGRAM, 1, 0, xid=9),
            call_message(PROGRAM, 1, 2, word(1) + word(2), credential=ALICE),
            call_message(PROGRAM, 1, 2, b""),
            call_message(PROGRAM, 1, 5, word(0)),
            call_message(PROGRAM, 1, 6),
            call_message(PROGRAM, 2, 0),
            call_message(99, 2, 0),
            encode_call(1, PROGRAM, 1, 0, credential=encode_opaque_auth(12345, b"")),
        )
        assert [call.outcome for call in watcher.ended] == [
            "SUCCESS",
            "SUCCESS",
            "GARBAGE_ARGS",
            "SYSTEM_ERR",
            "NO_REPLY",
            "PROG_MISMATCH",
            "PROG_UNAVAIL",
            "AUTH_ERROR",
        ]
        assert watcher.started == watcher.ended
        null, add = watcher.ended[:2]
        assert (null.xid, null.procedure_name, null.request_bytes, null.reply_bytes) == (9, "SERVED_NULL", 40, 24)
        assert (add.flavor, add.program_name, add.reply_bytes) == (1, "SERVED_PROG", 28)
        assert all(call.seconds > 0 for call in watcher.ended)

    def test_late_and_cancelled_calls_are_seen_too(self) -> None:
        bench, watcher = self.watched()
        bench.send(call_message(PROGRAM, 1, 4, bytes(4)), call_message(PROGRAM, 1, 4, bytes(4)))
        bench.program.calls[0].reply(b"")
        bench.session.connection_lost("reset")
        assert [call.outcome for call in watcher.ended] == ["SUCCESS", "CANCELLED"]
        assert watcher.closed == ["reset"]

    def test_every_message_is_seen_as_it_is(self) -> None:
        bench, watcher = self.watched()
        call = call_message(PROGRAM, 1, 0)
        replies = bench.send(call)
        assert watcher.messages == [("in", call), ("out", replies[0])]

    def test_an_observer_that_fails_harms_nobody(self) -> None:
        class Bad(Watcher):
            def call_started(self, call: object) -> None:
                raise ValueError

            def call_ended(self, call: object) -> None:
                raise ValueError

            def message_seen(self, message: object) -> None:
                raise ValueError

        notices = Notices()
        bench = Bench()
        bench.server = Server([bench.program], observers=[Bad(), notices])
        bench.session = Pipe(StreamClient(first_xid=1), bench.server).session
        assert bench.call(2, word(1) + word(2)) == SUCCESS + word(3)
        assert {notice.kind for notice in notices.notices} == {"observer failed"}


def outcomes(events: Sequence[object]) -> list[object]:
    return [event.results if isinstance(event, Answered) else type(event) for event in events]


@pytest.mark.parametrize("split", [0, 1, 3, 50])
def test_our_client_understands_our_server(split: int) -> None:
    client = StreamClient(first_xid=2**32 - 2)
    pipe = Pipe(client, Server([Served()]), split=split)
    client.start("add", PROGRAM, 1, 2, word(2) + word(3), now=0, identity=Identity(ALICE))
    client.start("null", PROGRAM, 1, 0, b"", now=0)
    client.start("none", PROGRAM, 1, 55, b"", now=0)
    assert outcomes(pipe.transfer()) == [word(5), b"", Failed]
