"""Who gets what from a whole server: permissions as the kernel's, answers kept for a call only to who made it."""

from __future__ import annotations

import errno
import secrets
import socket
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import pytest

import xdr
from ipcserver._gen import ipc as gen
from ipcserver.client import IPC, connect
from ipcserver.errors import IPCError
from ipcserver.hypers import to_hyper
from oncrpc import sync
from oncrpc.auth import AuthSys, encode_opaque_auth
from oncrpc.message import encode_call
from tests.adversity import summary
from tests.ipcserver.machine.kernel import Kernel, KernelProcess, User
from tests.ipcserver.serving import Serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

ROOT: Final = User(0, 0)
OWNER: Final = User(5001, 6001)
USERS: Final = {
    "root": ROOT,
    "owner": OWNER,
    "another process of the owner": User(5001, 6007),
    "member": User(5002, 6001),
    "supplementary member": User(5003, 6003, (6009, 6001)),
    "other": User(5004, 6004, (6009,)),
}
MODES: Final = [0, *(bits << shift for shift in (6, 3, 0) for bits in (2, 4, 6)), 0o222, 0o444, 0o640, 0o026, 0o666]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """One that believes this machine's word of who calls, root's too."""
    with Serving(
        tmp_path_factory.mktemp("principals"), "--trust", "127.0.0.0/8:root", "--journal", "memory"
    ) as running:
        yield running


def credential(user: User) -> AuthSys:
    return AuthSys(0, "here", user.uid, user.gid, user.gids)


def nothing() -> gen.ripc_ctx:
    return gen.ripc_ctx(to_hyper(0), 0, 0, 7)


# ---- S11: as the kernel ----

Calls: TypeAlias = "dict[str, tuple[Callable[[IPC, int], object], tuple[Any, ...]]]"
"""By the kernel's name: how our client makes it, and the kernel's arguments after the id."""


def setting(method: str) -> Callable[[IPC, int], object]:
    """Make an IPC_SET that asks for what is there already; the client's own would ask for the status first."""

    def call(ipc: IPC, number: int) -> None:
        plain = gen.ripc_set_args(nothing(), number, OWNER.uid, OWNER.gid, 0o600)
        args = gen.ripc_msgset_args(plain, to_hyper(16384)) if method == "ripc_msgset" else plain
        status = ipc._calls.perform(method, lambda _: args)
        if status is not gen.RIPC_OK:
            raise IPCError(status, method)

    return call


QUEUE: Final[Calls] = {
    "msgsnd": (lambda ipc, number: ipc.queue(number).send(b"x", nowait=True), (1, "x", gen.RIPC_NOWAIT)),
    "msgrcv": (lambda ipc, number: ipc.queue(number).receive(nowait=True), (0, 100, gen.RIPC_NOWAIT)),
    "msgstat": (lambda ipc, number: ipc.queue(number).stat(), ()),
    "msgset": (setting("ripc_msgset"), (OWNER.uid, OWNER.gid, 0o600, 16384)),
    "msgrmid": (lambda ipc, number: ipc.queue(number).remove(), ()),
}
SET: Final[Calls] = {
    "semop": (lambda ipc, number: ipc.semaphore_set(number).op((0, 1)), ([(0, 1, 0)],)),
    "semop for zero": (lambda ipc, number: ipc.semaphore_set(number).op((1, 0)), ([(1, 0, 0)],)),
    "semvals": (lambda ipc, number: ipc.semaphore_set(number).get(0), (0,)),
    "semgetall": (lambda ipc, number: ipc.semaphore_set(number).values(), (2,)),
    "semstat": (lambda ipc, number: ipc.semaphore_set(number).stat(), ()),
    "semsetval": (lambda ipc, number: ipc.semaphore_set(number).set_value(0, 3), (0, 3)),
    "semsetall": (lambda ipc, number: ipc.semaphore_set(number).set_values([1, 0]), ([1, 0],)),
    "semset": (setting("ripc_semset"), (OWNER.uid, OWNER.gid, 0o600)),
    "semrmid": (lambda ipc, number: ipc.semaphore_set(number).remove(), ()),
}
SEGMENT: Final[Calls] = {
    "shmat": (lambda ipc, number: ipc.segment(number).attach(), (0,)),
    "shmat to read": (lambda ipc, number: ipc.segment(number).attach(read_only=True), (gen.RIPC_RDONLY,)),
    "shmstat": (lambda ipc, number: ipc.segment(number).stat(), ()),
    "shmset": (setting("ripc_shmset"), (OWNER.uid, OWNER.gid, 0o600)),
    "shmrmid": (lambda ipc, number: ipc.segment(number).remove(), ()),
}


class Both:
    """The same users at a server and in the kernel."""

    def __init__(self, server: Serving, kernel: Kernel, stack: ExitStack) -> None:
        self.ours = {
            who: stack.enter_context(connect(server.tcp, session=False, credential=credential(user)))
            for who, user in USERS.items()
        }
        self.theirs = {who: kernel.process(user) for who, user in USERS.items()}
        for process in self.theirs.values():
            stack.callback(process.kill)


@pytest.fixture(scope="module")
def both(server: Serving) -> Iterator[Both]:
    kernel = Kernel()
    with ExitStack() as stack:
        stack.callback(kernel.close)
        yield Both(server, kernel, stack)


def ours(call: Callable[[IPC, int], object], ipc: IPC, id: int) -> str:
    try:
        call(ipc, id)
    except IPCError as error:
        return error.status.name.removeprefix("RIPC_")
    return "OK"


def theirs(process: KernelProcess, name: str, *arguments: Any) -> str:
    match process.call(name.split(maxsplit=1)[0], *arguments):
        case ["errno", number] | ("errno", number):
            return errno.errorcode[number]
    return "OK"


@pytest.mark.parametrize(
    ("make", "theirs_make", "calls"),
    [
        (lambda ipc, mode: ipc.msgget(mode=mode).id, ("msgget", 0), QUEUE),
        (lambda ipc, mode: ipc.semget(nsems=2, mode=mode).id, ("semget", 0, 2), SET),
        (lambda ipc, mode: ipc.shmget(size=100, mode=mode).id, ("shmget", 0, 100), SEGMENT),
    ],
    ids=["queues", "sets", "segments"],
)
def test_every_call_of_every_user_on_every_mode_ends_as_it_does_in_the_kernel(
    both: Both,
    make: Callable[[IPC, int], int],
    theirs_make: tuple[Any, ...],
    calls: Calls,
) -> None:
    """S11: the matrix of user, mode and call."""
    compared, wrong = 0, []
    for mode in MODES:
        for who in USERS:
            mine = make(both.ours["owner"], mode)
            its = both.theirs["owner"].call(*theirs_make, gen.RIPC_CREAT | mode)
            if "msgsnd" in calls:
                both.ours["root"].queue(mine).send(b"secret")
                both.theirs["root"].call("msgsnd", its, 1, "secret", 0)
            for name, (call, arguments) in calls.items():
                if name.endswith("set"):
                    continue  # it would change the mode for those after it
                found = ours(call, both.ours[who], mine), theirs(both.theirs[who], name, its, *arguments)
                compared += 1
                if found[0] != found[1]:
                    wrong.append(f"{name} by {who}, mode {mode:04o}: {found[0]} here, {found[1]} in the kernel")
            name = next(name for name in calls if name.endswith("set"))
            mine = make(both.ours["owner"], mode)
            its = both.theirs["owner"].call(*theirs_make, gen.RIPC_CREAT | mode)
            call, arguments = calls[name]
            found = ours(call, both.ours[who], mine), theirs(both.theirs[who], name, its, *arguments)
            compared += 1
            if found[0] != found[1]:
                wrong.append(f"{name} by {who}, mode {mode:04o}: {found[0]} here, {found[1]} in the kernel")
    print(f"{compared} calls compared")
    assert wrong == []


@pytest.mark.parametrize("mode", MODES)
def test_reading_and_writing_a_segment_asks_for_the_bits_that_attaching_it_would(both: Both, mode: int) -> None:
    """S11: the kernel has no such calls; what it would refuse to attach can be neither read nor written."""
    owner = both.ours["owner"]
    segment, there = owner.shmget(size=8, mode=mode), both.theirs["owner"].call("shmget", 0, 8, gen.RIPC_CREAT | mode)
    for who, ipc in both.ours.items():
        process = both.theirs[who]
        reads = theirs(process, "shmat", there, gen.RIPC_RDONLY)
        writes = theirs(process, "shmat", there, 0)
        assert ours(lambda ipc, number: ipc.segment(number).read(0, 8), ipc, segment.id) == reads
        assert ours(lambda ipc, number: ipc.segment(number).compare_and_swap(0, 0, 0), ipc, segment.id) == writes
        if reads == "OK":
            assert ours(lambda ipc, number: ipc.segment(number).write(b"x"), ipc, segment.id) == writes


def test_guessing_ids_brings_no_data(both: Both) -> None:
    """S11: of all ids around those in use, somebody else gets EACCES or EINVAL, and learns nothing."""
    owner, other, root = both.ours["owner"], both.ours["other"], both.ours["root"]
    for left in list(root.queues()):
        root.queue(left.id).remove()
    queue = owner.msgget(mode=0o600)
    queue.send(b"secret")
    removed = owner.msgget(mode=0o666)
    removed.remove()
    again = owner.msgget(mode=0o600)
    again.send(b"secret")
    assert again.id != removed.id
    near = range(-3, 4)
    guesses = {id + step * 32768 + index for id in (queue.id, again.id) for step in range(4) for index in near}
    statuses = {ours(lambda ipc, number: ipc.queue(number).receive(nowait=True), other, guess) for guess in guesses}
    assert statuses <= {"EACCES", "EINVAL"}
    assert ours(lambda ipc, number: ipc.queue(number).receive(nowait=True), other, removed.id) == "EINVAL"
    assert queue.receive(nowait=True).text == again.receive(nowait=True).text == b"secret"


# ---- D6: false retries ----


@pytest.mark.parametrize("way", ["tcp", "udp"])
@pytest.mark.parametrize("first", ["owner", "other"])
@pytest.mark.parametrize("change", ["arguments", "user", "both"])
def test_the_number_of_a_call_with_other_arguments_or_by_another_user_gets_nothing_that_was_kept(
    server: Serving, way: str, first: str, change: str
) -> None:
    """D6: craft pairs, in both orders."""
    second = first if change == "arguments" else ({"owner", "other"} - {first}).pop()
    with ExitStack() as stack:
        queue = stack.enter_context(connect(server.tcp, credential=credential(ROOT))).msgget(mode=0o666)
        queue.send(b"one")
        queue.send(b"two", 2)
        stubs = {
            who: stack.enter_context(
                sync.connect(gen.IPCPROG_1_SyncClient, getattr(server, way), credential=credential(USERS[who]))
            )
            for who in {first, second}
        }
        granted = stubs[first].ripc_hello(gen.ripc_hello_args(to_hyper(secrets.randbits(62)), "x", 1, 0, 1, 0))
        assert isinstance(granted, gen.ripc_hello_res_RIPC_OK)

        def receive(who: str, mtype: int) -> Any:
            ctx = gen.ripc_ctx(granted.ok.session, 0, 1, 1)
            return stubs[who].ripc_msgrcv(
                gen.ripc_msgrcv_args(ctx, queue.id, gen.RIPC_NOWAIT, 0, to_hyper(mtype), to_hyper(100))
            )

        assert receive(first, 1).msg.mtext == b"one"
        assert receive(second, 1 if change == "user" else 2).status is gen.RIPC_EFALSERETRY
        assert receive(first, 1).msg.mtext == b"one"
        assert queue.stat().qnum == 1


def test_an_xid_that_comes_again_with_other_arguments_or_another_user_is_another_call(server: Serving) -> None:
    """D6, the replay cache of datagrams: each of these is done once, in the name of who sent it."""
    with ExitStack() as stack:
        root = stack.enter_context(connect(server.tcp, credential=credential(ROOT)))
        queue = root.msgget(mode=0o622)
        wire = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        wire.settimeout(20)
        wire.connect(("127.0.0.1", server.port))

        def send(who: str, text: bytes) -> bytes:
            user = credential(USERS[who])
            head = encode_call(
                77, gen.IPCPROG_1_Server.program, 1, 11, credential=encode_opaque_auth(user.flavor, user.encode())
            )
            args = gen.ripc_msgsnd_args(nothing(), queue.id, gen.RIPC_NOWAIT, 0, to_hyper(1), text)
            wire.send(head + xdr.codec(gen.ripc_msgsnd_args).encode(args))
            return wire.recv(1000)

        sent = [("owner", b"a"), ("owner", b"b"), ("other", b"a"), ("root", b"a")]
        replies = [send(who, text) for who, text in sent for _ in range(5)]
        assert len(set(replies)) == 1
        queue.set(mode=0o600)
        # Kept for those who called, and for nobody else, whatever the permissions are by now.
        assert send("other", b"a") == replies[0]
        assert send("member", b"a")[-4:] == int(gen.RIPC_EACCES).to_bytes(4, "big")
        texts = []
        with suppress(IPCError):
            while True:
                texts.append(queue.receive(nowait=True).text)
        assert texts == [text for _, text in sent]


# ---- D7: what is kept is bounded, and never given up early ----


@pytest.mark.parametrize("most", [60, pytest.param(1000, marks=pytest.mark.torture)])
def test_kept_answers_are_bounded_and_new_sessions_are_refused_before_any_is_given_up(
    tmp_path: Path, most: int
) -> None:
    """D7: so many clients keep an answer each; the next is told so, and no answer is lost, over a crash too."""
    user = credential(OWNER)
    with Serving(tmp_path, "--trust", "127.0.0.0/8:root", "--limit", f"owner_sessions={most}") as server:
        with (
            sync.connect(gen.IPCPROG_1_SyncClient, server.tcp, credential=user) as stub,
            connect(server.tcp, credential=credential(ROOT)) as root,
        ):
            queue = root.msgget(mode=0o666)

            def hello(nonce: int) -> gen.ripc_hello_res:
                return stub.ripc_hello(gen.ripc_hello_args(to_hyper(nonce), "x", 1, 0, 64, 3_600_000))

            def send(stub: gen.IPCPROG_1_SyncClient, session: gen.ripc_hyper, text: bytes) -> gen.ripc_status:
                ctx = gen.ripc_ctx(session, 0, 1, 1)
                args = gen.ripc_msgsnd_args(ctx, queue.id, gen.RIPC_NOWAIT, 0, to_hyper(1), text)
                return stub.ripc_msgsnd(args)

            sessions = []
            for nonce in range(1, most + 1):
                granted = hello(nonce)
                assert isinstance(granted, gen.ripc_hello_res_RIPC_OK)
                sessions.append(granted.ok.session)
                assert send(stub, granted.ok.session, b"%d" % nonce) is gen.RIPC_OK
            assert hello(most + 1).status is gen.RIPC_EQUOTA
            # Who has a session already finds it again, all the same.
            assert isinstance(hello(1), gen.ripc_hello_res_RIPC_OK)
            before = queue.stat().qnum
        server.kill()
        server.start()
        with sync.connect(gen.IPCPROG_1_SyncClient, server.tcp, credential=user) as stub:
            again = [send(stub, session, b"%d" % nonce) for nonce, session in enumerate(sessions, 1)]
            assert again == [gen.RIPC_OK] * most
            with connect(server.tcp, credential=credential(ROOT)) as root:
                assert root.queue(queue.id).stat().qnum == before == most
    summary.add("answers kept", {"clients": most, "refused": 1, "given up": 0})
