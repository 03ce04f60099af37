"""A server's figures for Prometheus; needs the package prometheus_client (``pip install ipcserver[metrics]``)."""

from __future__ import annotations

from bisect import bisect_left
from itertools import accumulate
from typing import TYPE_CHECKING, Final

from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

from oncrpc.observe import CallSeen, Notice, Observer

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from prometheus_client.metrics_core import Metric

    from oncrpc.program import Connection
    from oncrpc.server import Server

__all__ = ["CounterCollector", "Metrics"]

# A NULL call takes microseconds, a blocking receive any time.
_BUCKETS: Final = (0.00001, 0.0001, 0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10, 60, 600)
_SIZES: Final = (64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304)
_UNKNOWN: Final = "unknown"
_LABELS: Final = ("program", "version", "procedure", "transport")


class _Distribution:
    """How often values fell between which bounds, and their sum."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def add(self, value: float) -> None:
        """Count one."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def buckets(self) -> list[tuple[str, float]]:
        """Return what Prometheus wants: for each bound, how many were at most that."""
        names = [*map(str, map(float, self.bounds)), "+Inf"]
        return list(zip(names, accumulate(self.counts), strict=True))


class _Series:
    """What is counted of the calls of one procedure over one transport."""

    __slots__ = ("outcomes", "reply", "request", "seconds")

    def __init__(self) -> None:
        self.outcomes: dict[str, int] = {}
        self.seconds = _Distribution(_BUCKETS)
        self.request = _Distribution(_SIZES)
        self.reply = _Distribution(_SIZES)


class Metrics(Observer):
    """Counts calls, bytes, seconds and connections; give it to a service as an observer.

    A call is labelled by names that the server knows: what a peer invents (numbers of programs,
    versions, procedures) is all "unknown", since labels are memory. Counting a call takes two
    microseconds; what Prometheus makes of the counts is made when it asks.

    Args:
        registry: Where the metrics are registered; prometheus_client's own by default.
        prefix: Names begin with it.

    Raises:
        ValueError: Metrics of these names are registered there already.
    """

    def __init__(self, registry: CollectorRegistry = REGISTRY, prefix: str = "onc_rpc_server") -> None:
        self._prefix = prefix
        self._series: dict[tuple[int, str, int, str, str], _Series] = {}
        self._in_hand = 0
        # By transport.
        self._opened: dict[str, int] = {}
        self._open: dict[str, int] = {}
        self._notices: dict[str, int] = {}
        registry.register(self)

    def call_started(self, call: CallSeen) -> None:  # noqa: ARG002 - as the hook
        """One more in hand."""
        self._in_hand += 1

    def call_ended(self, call: CallSeen) -> None:
        """One less, and what became of it."""
        self._in_hand -= 1
        # A procedure's name is known to the server, and so all the rest is.
        name = call.procedure_name
        key = (call.program, call.program_name, call.version if name else 0, name, call.netid)
        if not name and not call.program_name:
            key = (0, "", 0, "", call.netid)
        series = self._series.get(key)
        if series is None:
            series = self._series[key] = _Series()
        outcomes = series.outcomes
        outcomes[call.outcome] = outcomes.get(call.outcome, 0) + 1
        series.seconds.add(call.seconds)
        series.request.add(call.request_bytes)
        if call.reply_bytes:
            series.reply.add(call.reply_bytes)

    def connection_opened(self, connection: Connection) -> None:
        """One more."""
        netid = connection.netid
        self._opened[netid] = self._opened.get(netid, 0) + 1
        self._open[netid] = self._open.get(netid, 0) + 1

    def connection_closed(self, connection: Connection, reason: str) -> None:  # noqa: ARG002 - as the hook
        """One less."""
        self._open[connection.netid] -= 1

    def noticed(self, notice: Notice) -> None:
        """Counted even where the log leaves it out."""
        self._notices[notice.kind] = self._notices.get(notice.kind, 0) + 1

    def describe(self) -> Iterable[Metric]:
        """Name the metrics, for the registry to find names that are taken."""
        return self._families()

    def collect(self) -> Iterable[Metric]:
        """Return the metrics with their values now."""
        families = self._families()
        calls, seconds, request, reply, in_hand, opened, opens, notices = families
        # Copies, made in one step each: who asks may be another thread, while calls go on.
        for (program, program_name, version, procedure, netid), series in list(self._series.items()):
            labels = [
                program_name or (str(program) if procedure else _UNKNOWN),
                str(version) if procedure else _UNKNOWN,
                procedure or _UNKNOWN,
                netid,
            ]
            for outcome, count in list(series.outcomes.items()):
                calls.add_metric([*labels, outcome], count)
            seconds.add_metric(labels, series.seconds.buckets(), series.seconds.total)
            request.add_metric(labels, series.request.buckets(), series.request.total)
            reply.add_metric(labels, series.reply.buckets(), series.reply.total)
        in_hand.add_metric([], self._in_hand)
        for netid, count in list(self._opened.items()):
            opened.add_metric([netid], count)
        for netid, count in list(self._open.items()):
            opens.add_metric([netid], count)
        for kind, count in list(self._notices.items()):
            notices.add_metric([kind], count)
        return families

    def _families(
        self,
    ) -> tuple[
        CounterMetricFamily,
        HistogramMetricFamily,
        HistogramMetricFamily,
        HistogramMetricFamily,
        GaugeMetricFamily,
        CounterMetricFamily,
        GaugeMetricFamily,
        CounterMetricFamily,
    ]:
        prefix = self._prefix
        transport: Sequence[str] = ("transport",)
        return (
            CounterMetricFamily(f"{prefix}_calls", "Calls that ended, by outcome.", labels=(*_LABELS, "outcome")),
            HistogramMetricFamily(f"{prefix}_call_seconds", "From reading a call to its end.", labels=_LABELS),
            HistogramMetricFamily(f"{prefix}_request_bytes", "Bytes of calls.", labels=_LABELS),
            HistogramMetricFamily(f"{prefix}_reply_bytes", "Bytes of replies.", labels=_LABELS),
            GaugeMetricFamily(f"{prefix}_calls_in_hand", "Calls not answered yet."),
            CounterMetricFamily(f"{prefix}_connections", "Connections accepted.", labels=transport),
            GaugeMetricFamily(f"{prefix}_connections_open", "Connections there are.", labels=transport),
            CounterMetricFamily(f"{prefix}_notices", "Things worth a log line.", labels=("kind",)),
        )


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
