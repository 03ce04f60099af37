from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from oncrpc.program import Peer
from oncrpc.records import frame_record
from oncrpc.server import Server
from oncrpc.session import StreamSession
from oncrpc.testing import call_message
from tests.oncrpc.served import PROGRAM, Served

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry as Registry

prometheus = pytest.importorskip("prometheus_client")


@pytest.fixture
def registry() -> Registry:
    made: Registry = prometheus.CollectorRegistry()
    return made


def served(registry: Registry) -> StreamSession:
    from oncrpc.metrics import CounterCollector, Metrics

    core = Server([Served()], observers=[Metrics(registry)], clock=iter(range(1000)).__next__)
    registry.register(CounterCollector(core))
    session = StreamSession(core, 1, Peer("127.0.0.1", 700), "tcp", wake=lambda: None)
    core.opened(session)
    return session


def test_calls_are_counted_by_procedure_and_outcome(registry: Registry) -> None:
    session = served(registry)
    for number in (0, 0, 2, 4):
        session.receive_data(frame_record(call_message(PROGRAM, 1, number, bytes(4))))
        session.run()
    labels = {"program": "SERVED_PROG", "version": "1", "transport": "tcp"}
    count = registry.get_sample_value
    null = labels | {"procedure": "SERVED_NULL"}
    assert count("onc_rpc_server_calls_total", null | {"outcome": "SUCCESS"}) == 2
    assert count("onc_rpc_server_call_seconds_count", null) == 2
    add = labels | {"procedure": "SERVED_ADD", "outcome": "GARBAGE_ARGS"}
    assert count("onc_rpc_server_calls_total", add) == 1
    assert count("onc_rpc_server_calls_in_hand") == 1
    session.connection_lost("reset")
    assert count("onc_rpc_server_calls_in_hand") == 0
    assert count("onc_rpc_server_connections_open", {"transport": "tcp"}) == 0
    assert count("onc_rpc_server_garbage_total") == 1
    assert count("onc_rpc_server_notices_total", {"kind": "garbage arguments"}) == 1


def test_calls_may_go_on_while_figures_are_collected(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    """prometheus_client's own HTTP server collects in a thread."""
    session = served(registry)
    new = iter(range(7))
    family = prometheus.core.HistogramMetricFamily
    add = family.add_metric

    def add_metric(self: object, *what: object) -> None:
        add(self, *what)
        session.receive_data(frame_record(call_message(PROGRAM, 1, next(new, 0), bytes(8))))
        session.run()

    session.receive_data(frame_record(call_message(PROGRAM, 1, 99)))
    session.run()
    monkeypatch.setattr(family, "add_metric", add_metric)
    assert len(list(registry.collect())) > 8


def test_peers_cannot_invent_labels(registry: Registry) -> None:
    session = served(registry)
    for number in range(100, 200):
        session.receive_data(frame_record(call_message(number, number, number)))
        session.receive_data(frame_record(call_message(PROGRAM, number, number)))
        session.receive_data(frame_record(call_message(PROGRAM, 1, number)))
        session.run()
    samples = [s for family in registry.collect() for s in family.samples if s.name == "onc_rpc_server_calls_total"]
    assert len(samples) <= 4
    assert sum(sample.value for sample in samples) == 300
