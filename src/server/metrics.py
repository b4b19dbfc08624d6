"""The numbers of a running proxy in the form that Prometheus reads (text format 0.0.4)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from .. import __version__
from .certs_command import Row
from .counters import BUCKETS, Totals

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class ProxyCollector(Collector):
    """`totals` and `certificates` are asked for the state at each scrape."""

    def __init__(self, totals: Callable[[], Totals], certificates: Callable[[], Sequence[Row]], started: float) -> None:
        self._totals = totals
        self._certificates = certificates
        self._started = started

    def collect(self) -> Iterable[Metric]:
        """All metrics."""
        totals = self._totals()
        yield InfoMetricFamily("lockgate", "What runs here", value={"version": __version__})
        yield GaugeMetricFamily(
            "lockgate_start_time_seconds", "When the proxy was started, since the epoch", value=self._started
        )
        requests = CounterMetricFamily("lockgate_requests", "Requests, by the class of their answer", labels=["status"])
        for status, count in totals.by_status.items():
            requests.add_metric([status], count)
        yield requests
        ends = CounterMetricFamily(
            "lockgate_ends", "Requests, and connections without one, by the reason of their end", labels=["end"]
        )
        for end, count in totals.by_end.items():
            ends.add_metric([end], count)
        yield ends
        bounds = [*map(str, BUCKETS), "+Inf"]
        yield HistogramMetricFamily(
            "lockgate_request_duration_seconds",
            "From the first byte of a request to the last byte of its answer",
            buckets=list(zip(bounds, accumulate(totals.buckets), strict=True)),
            sum_value=totals.duration,
        )
        yield CounterMetricFamily("lockgate_received_bytes", "Bytes of bodies of requests", value=totals.bytes_in)
        yield CounterMetricFamily("lockgate_sent_bytes", "Bytes of bodies of answers", value=totals.bytes_out)
        yield GaugeMetricFamily(
            "lockgate_connections", "Connections that are open, with clients and with servers", value=totals.connections
        )
        expiry = GaugeMetricFamily(
            "lockgate_certificate_not_after_seconds",
            "When a certificate expires, since the epoch",
            labels=["name", "key", "file"],
        )
        for row in self._certificates():
            entry = row.entry
            if row.chosen:
                name = entry.names[0] if entry.names else ""
                expiry.add_metric([name, entry.key_kind, entry.cert_path], entry.not_after.timestamp())
        yield expiry


def metrics_text(collector: ProxyCollector) -> bytes:
    """The answer to a scrape."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(collector)
    return generate_latest(registry)
