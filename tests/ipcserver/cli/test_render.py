"""Status of objects as tables for people and as JSON."""

from __future__ import annotations

import io

from rich.console import Console

from ipcserver._gen import ipc as gen
from ipcserver.cli import render

PERM = gen.ripc_perm(key=0x1234, uid=0, gid=0, cuid=3_999_999, cgid=0, mode=0o640, seq=3)


def queue() -> gen.ripc_msqid_ds:
    """Return a queue's status."""
    return gen.ripc_msqid_ds(
        id=98304,
        perm=PERM,
        stime=gen.ripc_hyper(0, 1_700_000_000),
        rtime=gen.ripc_hyper(0, 0),
        ctime=gen.ripc_hyper(0, 1_700_000_000),
        qnum=2,
        cbytes=gen.ripc_hyper(1, 5),
        qbytes=gen.ripc_hyper(0, 16384),
        lspid=77,
        lrpid=0,
    )


def shown(table: object) -> str:
    """Return a table as a wide terminal shows it."""
    out = io.StringIO()
    Console(file=out, width=200, highlight=False).print(table)
    return out.getvalue()


class TestTables:
    """What ipcs(1) shows, as it shows it."""

    def test_a_queue_is_one_row_with_key_id_owner_perms_and_use(self) -> None:
        row = shown(render.queues_table([queue()])).splitlines()[-2].split()
        assert row[:6] == ["0x00001234", "98304", "root", "640", "2", "4294967301"]
        assert row[-1] == "never"

    def test_a_key_above_31_bits_is_shown_unsigned(self) -> None:
        assert render.key_text(-1) == "0xffffffff"

    def test_an_owner_that_this_machine_does_not_know_is_a_number(self) -> None:
        assert render.owner_text(3_999_999) == "3999999"

    def test_a_segment_to_be_removed_says_so(self) -> None:
        zero = gen.ripc_hyper(0, 0)
        segment = gen.ripc_shmid_ds(1, PERM, gen.ripc_hyper(0, 4096), zero, zero, zero, 1, 2, 1, 1)
        assert shown(render.segments_table([segment])).split()[-5:] == ["root", "640", "4096", "1", "dest"]

    def test_a_set_shows_how_many_semaphores_it_has(self) -> None:
        semid = gen.ripc_semid_ds(1, PERM, gen.ripc_hyper(0, 0), gen.ripc_hyper(0, 5), 7)
        assert shown(render.sets_table([semid])).split()[-2:] == ["7", "never"]

    def test_the_details_have_every_field_in_words(self) -> None:
        text = shown(render.details(queue()))
        for part in ("0x00001234", "640", "0 (root)", "3999999 (3999999)", "4294967301", "never"):
            assert part in text


class TestJSON:
    """Numbers stay numbers."""

    def test_64_bit_values_are_numbers_and_perm_is_flat(self) -> None:
        value = render.as_json(queue())
        assert value["cbytes"] == 4294967301
        assert value["key"] == 0x1234
        assert value["stime"] == 1_700_000_000
        assert "perm" not in value
