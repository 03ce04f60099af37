"""Classes of programs."""

from __future__ import annotations

from typing import Any

import pytest

from oncrpc.program import Call, ClientStub, Program
from tests.xdr.rpcl.snippets import compiled, module

TEXT = """
struct pair { int a; int b; };
/* Adds and forgets. */
program CALC {
    /* The first one. */
    version CALC_ONE {
        void CALC_NULL(void) = 0;
        int CALC_ADD(pair) = 1;             /* the sum */
        int CALC_SUB(int left, int right) = 2;
        void CALC_FORGET(void) = 3;
    } = 1;
    version CALC_TWO {
        hyper CALC_ADD(pair) = 1;
    } = 2;
} = 0x20000123;
"""


class Recorder:
    """A caller that keeps what is called."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, tuple[Any, ...], float | None]] = []

    def call(self, stub: ClientStub, procedure: Any, arguments: Any, *, timeout: float | None) -> Any:
        """Keep it."""
        self.calls.append((f"{stub.program_name}.{stub.version}.{procedure.name}", tuple(arguments), timeout))
        return 42

    def send(self, stub: ClientStub, procedure: Any, arguments: Any) -> None:
        """Not called here."""

    def close(self) -> None:
        """Nothing to do."""


def test_each_version_has_its_classes_and_numbers() -> None:
    m = module(TEXT)
    assert (m.CALC_1_Server.program, m.CALC_1_Server.version) == (0x20000123, 1)
    assert (m.CALC_2_Client.program_name, m.CALC_2_Client.version_name) == ("CALC", "CALC_TWO")
    assert issubclass(m.CALC_1_Server, Program)
    assert issubclass(m.CALC_1_SyncClient, ClientStub)
    assert (m.CALC, m.CALC_ONE, m.CALC_TWO, m.CALC_ADD, m.CALC_SUB) == (0x20000123, 1, 2, 1, 2)


def test_procedures_are_listed_by_number_with_their_types() -> None:
    m = module(TEXT)
    listed = [(p.number, p.name, p.method, len(p.arguments)) for p in m.CALC_1_Server.procedures]
    assert listed == [
        (0, "CALC_NULL", "calc_null", 0),
        (1, "CALC_ADD", "calc_add", 1),
        (2, "CALC_SUB", "calc_sub", 2),
        (3, "CALC_FORGET", "calc_forget", 0),
    ]
    assert m.CALC_1_Server.procedures[1].arguments == (m.pair,)
    assert m.CALC_1_Client.procedures is m.CALC_1_Server.procedures


def test_a_server_must_have_every_procedure_but_null() -> None:
    m = module(TEXT)
    assert m.CALC_1_Server.__abstractmethods__ == {"calc_add", "calc_sub", "calc_forget"}
    with pytest.raises(TypeError, match="calc_add"):
        type("Half", (m.CALC_1_Server,), {})()


def test_null_is_answered_with_nothing() -> None:
    m = module(TEXT)
    methods = {name: lambda _self, _call, *_args: 1 for name in m.CALC_1_Server.__abstractmethods__}
    server = type("Whole", (m.CALC_1_Server,), methods)()
    call: Call | None = None
    assert server.calc_null(call) is None


@pytest.mark.parametrize("kind", ["Client", "SyncClient"])
def test_a_client_calls_by_name(kind: str) -> None:
    m = module(TEXT)
    recorder = Recorder()
    client = getattr(m, f"CALC_1_{kind}")(recorder)
    assert client.calc_add(m.pair(1, 2)) == 42
    client.calc_sub(5, right=3, timeout=1.5)
    client.calc_forget()
    assert recorder.calls == [
        ("CALC.1.CALC_ADD", (m.pair(1, 2),), None),
        ("CALC.1.CALC_SUB", (5, 3), 1.5),
        ("CALC.1.CALC_FORGET", (), None),
    ]


def test_comments_become_docstrings() -> None:
    m = module(TEXT)
    assert "Adds and forgets." in m.CALC_1_Server.__doc__
    assert "The first one." in m.CALC_1_Server.__doc__
    assert "the sum" in m.CALC_1_Server.calc_add.__doc__


def test_a_name_with_two_numbers_is_no_constant() -> None:
    text = "program P { version A { void X(void) = 1; } = 1; version B { void X(void) = 2; } = 2; } = 9;"
    assert not hasattr(module(text), "X")


def test_names_that_differ_by_case_alone_are_kept() -> None:
    m = module("program P { version V { int Get(void) = 1; int GET(void) = 2; } = 1; } = 9;")
    assert [p.method for p in m.P_1_Server.procedures] == ["Get", "GET"]


def test_a_file_without_programs_needs_no_rpc() -> None:
    assert "oncrpc" not in compiled("struct s { int a; };").text
