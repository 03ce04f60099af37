"""A server's figures for Prometheus; needs the package prometheus_client (``pip install ipcserver[metrics]``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily

from oncrpc.observe import CallSeen, Notice, Observer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from oncrpc.program import Connection
    from oncrpc.server import Server

__all__ = ["CounterCollector", "Metrics"]

# A NULL call takes microseconds, a blocking receive any time.
_BUCKETS: Final = (0.00001, 0.0001, 0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10, 60, 600)
_SIZES: Final = (64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304)
_UNKNOWN: Final = "unknown"

_Found: TypeAlias = tuple[Counter, Histogram, Histogram, Histogram]


class Metrics(Observer):
    """Counts calls, bytes, seconds and connections; give it to a service as an observer.

    A call is labelled by names that the server knows: what a peer invents (numbers of programs,
    versions, procedures) is all "unknown", since labels are memory.

    Args:
        registry: Where the metrics are registered; prometheus_client's own by default.
        prefix: Names begin with it.

    Raises:
        ValueError: Metrics of these names are registered there already.
    """

    def __init__(self, registry: CollectorRegistry = REGISTRY, prefix: str = "onc_rpc_server") -> None:
        names = ("program", "version", "procedure", "transport")
        self._calls = Counter(
            f"{prefix}_calls", "Calls that ended, by outcome.", (*names, "outcome"), registry=registry
        )
        self._seconds = Histogram(
            f"{prefix}_call_seconds", "From reading a call to its end.", names, registry=registry, buckets=_BUCKETS
        )
        self._in_hand = Gauge(f"{prefix}_calls_in_hand", "Calls not answered yet.", registry=registry)
        self._request = Histogram(
            f"{prefix}_request_bytes", "Bytes of calls.", names, registry=registry, buckets=_SIZES
        )
        self._reply = Histogram(f"{prefix}_reply_bytes", "Bytes of replies.", names, registry=registry, buckets=_SIZES)
        self._opened = Counter(f"{prefix}_connections", "Connections accepted.", ("transport",), registry=registry)
        self._open = Gauge(f"{prefix}_connections_open", "Connections there are.", ("transport",), registry=registry)
        self._notices = Counter(f"{prefix}_notices", "Things worth a log line.", ("kind",), registry=registry)

        self._found: dict[tuple[int, str, int, str, str, str], _Found] = {}

    def call_started(self, call: CallSeen) -> None:  # noqa: ARG002 - as the hook
        """One more in hand."""
        self._in_hand.inc()

    def call_ended(self, call: CallSeen) -> None:
        """One less, and what became of it."""
        self._in_hand.dec()
        key = call.program, call.program_name, call.version, call.procedure_name, call.netid, call.outcome
        found = self._found.get(key) or self._find(call, key)
        found[0].inc()
        found[1].observe(call.seconds)
        found[2].observe(call.request_bytes)
        if call.reply_bytes:
            found[3].observe(call.reply_bytes)

    def _find(self, call: CallSeen, key: tuple[int, str, int, str, str, str]) -> _Found:
        """Look up what counts such calls; remembered where peers cannot choose the key, for it costs most of it all."""
        known = bool(call.procedure_name)
        labels = (
            call.program_name or (str(call.program) if known else _UNKNOWN),
            str(call.version) if known else _UNKNOWN,
            call.procedure_name or _UNKNOWN,
            call.netid,
        )
        found = (
            self._calls.labels(*labels, call.outcome),
            self._seconds.labels(*labels),
            self._request.labels(*labels),
            self._reply.labels(*labels),
        )
        if known:
            self._found[key] = found
        return found

    def connection_opened(self, connection: Connection) -> None:
        """One more."""
        self._opened.labels(connection.netid).inc()
        self._open.labels(connection.netid).inc()

    def connection_closed(self, connection: Connection, reason: str) -> None:  # noqa: ARG002 - as the hook
        """One less."""
        self._open.labels(connection.netid).dec()

    def noticed(self, notice: Notice) -> None:
        """Counted even where the log leaves it out."""
        self._notices.labels(notice.kind).inc()


class CounterCollector:
    """A server's own counters, read when Prometheus asks: they cost nothing until then.

    Args:
        server: Whose counters.
        prefix: Names begin with it.
    """

    def __init__(self, server: Server, prefix: str = "onc_rpc_server") -> None:
        self._server = server
        self._prefix = prefix

    def collect(self) -> Iterable[CounterMetricFamily]:
        """Return each counter of :class:`oncrpc.routes.Counters` as a metric."""
        counters = self._server.counters
        for name in counters.__slots__:
            family = CounterMetricFamily(f"{self._prefix}_{name}", f"oncrpc.routes.Counters.{name}")
            family.add_metric([], getattr(counters, name))
            yield family
