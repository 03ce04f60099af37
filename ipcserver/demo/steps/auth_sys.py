"""Step 8: who calls is what the caller says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ipcserver._gen import ipc
from ipcserver.demo import calls
from ipcserver.demo.screens import Screen
from ipcserver.demo.show import field_rows, hex_dump, safe, table
from ipcserver.demo.stage import MAPPED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ipcserver.demo.clients import Wire
    from ipcserver.demo.stage import Stage

__all__ = ["play"]

_TEXT: Final = b"alice's salary: 4711"
_CLAIMS: Final = ("flavor", "machinename", "uid", "gid", "gids")
_NOBODY: Final = 65534
_FIRST_BYTE: Final = 4 + 32
"""Record mark, and the call up to the credential's body."""


def _owner(wire: Wire, uid: int) -> int:
    """Make a queue in the name of a uid, and return whose it is then."""
    who = wire.station.credential(uid)
    made = wire.call(*calls.msgget(ipc.RIPC_PRIVATE, 0o666), credential=who)
    found = wire.call(*calls.msgstat(made.result.id), credential=who)
    wire.call(*calls.msgrmid(made.result.id), credential=who)
    return int(found.result.ds.perm.uid)


def play(stage: Stage) -> Iterator[Screen]:
    """Let bob read what is alice's, and find out what the server makes of other claims."""
    alice, bob = stage.sparc1, stage.sparc2
    hers, his = stage.tcp(alice), stage.tcp(bob)
    queue = stage.new_queue(hers, 8, 0o600)
    sent = hers.call(*calls.msgsnd(queue, 1, _TEXT))
    data = sent.sent[0].data
    told = stage.explain(sent, data)
    yield Screen(
        [
            (
                "alice on sparc1 has made a queue with mode 600, for her eyes alone, and put a message into it. This "
                "is how her call said who she is:"
            ),
            "",
            *field_rows(told, data, only=("cred",), names=_CLAIMS),
            "",
            (
                "No password, no signature, and the verifier behind it is empty. “machinename” is “the name of the "
                "caller's machine (like \"krypton\")”, says RFC 5531 in appendix A, and “uid” “the caller's "
                "effective user ID”. The caller says so."
            ),
        ],
        cue="lets bob try to read it",
    )

    honest = his.call(*calls.msgrcv(queue, 0, wait=False))
    claim = bob.credential(alice.uid)
    forged = his.call(*calls.msgrcv(queue, 0, wait=False), credential=claim)
    text = forged.result.msg.mtext.decode() if forged.result.status is ipc.RIPC_OK else ""
    end = _FIRST_BYTE + 4 * 6 + len(bob.name) + -len(bob.name) % 4
    one, two = honest.sent[0].data[_FIRST_BYTE:end], forged.sent[0].data[_FIRST_BYTE:end]
    differ = [at for at in range(min(len(one), len(two))) if one[at] != two[at]]
    places = [at for at in differ if at >= 4]  # noqa: PLR2004 - the stamp, which is the time
    yield Screen(
        [
            table(
                ("bob on sparc2 says that he is", "answer"),
                [
                    (f"bob, uid {bob.uid}", f"[bad]{honest.result.status.name}[/]"),
                    (
                        f"alice, uid {alice.uid}",
                        f"[good]{forged.result.status.name}[/]  {safe(repr(text)) if text else ''}",
                    ),
                ],
            ),
            "",
            "The two credentials, from the stamp on:",
            "",
            hex_dump(one, marked=places),
            "",
            hex_dump(two, marked=places),
            "",
            (
                f"They differ in {len(places)} byte{'' if len(places) == 1 else 's'} of the uid, which bob's program "
                "wrote. Any user can open a socket and do so. Ports below 1024, which only root can use, were to "
                "show that root had looked; on a machine of one's own, one is root."
            ),
            "",
            (
                "RFC 5531, 14: AUTH_SYS “is known to be insecure due to the lack of a verifier”, and SHOULD NOT be "
                "used for services that permit clients to modify data. It was, nearly everywhere."
            ),
        ],
        cue="asks for more: root",
    )

    his.call(*calls.msgrcv(queue, 0, wait=False), credential=bob.credential(0))
    rows = [
        (name, str(uid), str(_owner(wire, uid)))
        for name, wire, uid in (
            ("sparc1", hers, alice.uid),
            ("sparc2", his, alice.uid),
            ("sparc1", hers, 0),
            ("sparc2", his, 0),
            *([("sparc2", his, MAPPED[0])] if stage.separate else []),
        )
    ]
    refused = (
        hers.call(*calls.msgsnd(queue, 1, _TEXT)),
        his.call(*calls.msgrcv(queue, 0, wait=False), credential=bob.credential(0)),
    )
    yield Screen(
        [
            (
                "What can a server do? Choose whom it believes, and how much. Each of these calls made a queue, and "
                "the server was asked whose it is:"
            ),
            "",
            table(("machine", "claims uid", "is taken for"), rows),
            "",
            f"uid 0 becomes {_NOBODY}, nobody: NFS calls it root squash. As root from sparc2, alice's queue gives "
            f"[b]{refused[1].result.status.name}[/]."
            + (
                f" And uid {MAPPED[0]} of sparc2 is another one here, as configured: --trust "
                f"{bob.address}/32:{MAPPED[0]}={MAPPED[1]}."
                if stage.separate
                else ""
            ),
            "",
            (
                "Only loopback is believed, until somebody says --trust; other networks' calls are answered "
                "AUTH_TOOWEAK. On the local socket nothing need be believed: the kernel tells who is at the other "
                "end."
            ),
            "",
            (
                "[aside]Proofs were tried: AUTH_DH “is flawed due to the selection of a small prime” (RFC 2695). "
                "RPCSEC_GSS came in 1997 (RFC 2203), TLS under RPC in 2022 (RFC 9289). This server has neither "
                "yet.[/]"
            ),
        ]
    )
