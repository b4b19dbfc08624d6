"""The numbers of a running proxy in the form that Prometheus reads (text format 0.0.4).

Names of files are escaped: on a disk they are any bytes, and one that is not UTF-8 would take all numbers away.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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
from ..certs.revocation import RevocationList
from .certs_command import Row
from .counters import BUCKETS, BackendTotals, Totals
from .problems import one_line

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class ProxyCollector(Collector):
    """`totals`, `backends` and `certificates` are asked for the state at each scrape."""

    def __init__(
        self,
        totals: Callable[[], Totals],
        backends: Callable[[], Mapping[str, BackendTotals]],
        certificates: Callable[[], Sequence[Row]],
        lists: Sequence[RevocationList],
        started: float,
    ) -> None:
        self._totals = totals
        self._backends = backends
        self._certificates = certificates
        self._lists = lists
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
        yield HistogramMetricFamily(
            "lockgate_request_duration_seconds",
            "From the first byte of a request to the last byte of its answer",
            buckets=_buckets(totals.buckets),
            sum_value=totals.duration,
        )
        yield CounterMetricFamily("lockgate_received_bytes", "Bytes of bodies of requests", value=totals.bytes_in)
        yield CounterMetricFamily("lockgate_sent_bytes", "Bytes of bodies of answers", value=totals.bytes_out)
        yield GaugeMetricFamily(
            "lockgate_connections", "Connections that are open, with clients and with servers", value=totals.connections
        )
        yield from _handshakes(totals)
        yield from _of_backends(self._backends())
        expiry = GaugeMetricFamily(
            "lockgate_certificate_not_after_seconds",
            "When a certificate expires, since the epoch",
            labels=["name", "key", "file"],
        )
        for row in self._certificates():
            entry = row.entry
            if row.chosen:
                name = entry.names[0] if entry.names else ""
                expiry.add_metric([name, entry.key_kind, one_line(entry.cert_path)], entry.not_after.timestamp())
        yield expiry
        if self._lists:
            yield _of_lists(self._lists)


def _of_lists(lists: Sequence[RevocationList]) -> Metric:
    """Of several lists of one authority in one file the next to expire counts: a label must not be there twice."""
    ends: dict[tuple[str, str], float] = {}
    for one in lists:
        key = (one_line(one.issuer), one_line(one.path))
        end = math.inf if one.next_update is None else one.next_update.timestamp()
        ends[key] = min(end, ends.get(key, math.inf))
    expiry = GaugeMetricFamily(
        "lockgate_revocation_list_next_update_seconds",
        "When a revocation list of clients expires, since the epoch",
        labels=["issuer", "file"],
    )
    for key, end in ends.items():
        expiry.add_metric(key, end)
    return expiry


def _buckets(counts: Sequence[float]) -> list[tuple[str, float]]:
    """Cumulative, as Prometheus wants them."""
    return list(zip([*map(str, BUCKETS), "+Inf"], accumulate(counts), strict=True))


def _handshakes(totals: Totals) -> Iterator[Metric]:
    handshakes = CounterMetricFamily(
        "lockgate_tls_handshakes",
        "TLS handshakes with clients; the version of one that failed is not known",
        labels=["outcome", "version"],
    )
    for (outcome, version), count in totals.handshakes.items():
        handshakes.add_metric([outcome, version], count)
    handshakes.add_metric(["failed", ""], sum(totals.failures.values()))
    yield handshakes
    failures = CounterMetricFamily(
        "lockgate_tls_handshake_failures", "TLS handshakes with clients that failed", labels=["reason"]
    )
    for reason, count in totals.failures.items():
        if count:
            failures.add_metric([reason], count)
    yield failures


def _of_backends(backends: Mapping[str, BackendTotals]) -> Iterator[Metric]:
    requests = CounterMetricFamily(
        "lockgate_backend_requests",
        "Requests that were given to a backend, by the class of the client's answer",
        labels=["backend", "status"],
    )
    failures = CounterMetricFamily(
        "lockgate_backend_connect_failures",
        "Connections to a backend's servers that could not be made",
        labels=["backend"],
    )
    durations = HistogramMetricFamily(
        "lockgate_backend_response_seconds",
        "From the head of a request to the head of its backend's answer",
        labels=["backend"],
    )
    connections = GaugeMetricFamily(
        "lockgate_backend_connections",
        "Connections to a backend's servers that are open or being made",
        labels=["backend"],
    )
    idle = GaugeMetricFamily(
        "lockgate_backend_idle_connections", "Those of them that carry no request", labels=["backend"]
    )
    for name, found in backends.items():
        for status, count in found.by_status.items():
            requests.add_metric([name, status], count)
        failures.add_metric([name], found.connect_failures)
        durations.add_metric([name], _buckets(found.buckets), found.duration)
        connections.add_metric([name], found.open)
        idle.add_metric([name], found.idle)
    yield from (requests, failures, durations, connections, idle)


def metrics_text(collector: ProxyCollector) -> bytes:
    """The answer to a scrape."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(collector)
    return generate_latest(registry)
