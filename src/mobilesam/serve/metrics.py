"""Counters of the service in Prometheus' text format."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from threading import Lock

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper bounds of the histogram of durations, in seconds."""


class Metrics:
    """Requests by route and status, and their durations; safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._requests: Counter[tuple[str, str, int]] = Counter()
        self._buckets: Counter[tuple[str, float]] = Counter()
        self._seconds: Counter[str] = Counter()
        self._count: Counter[str] = Counter()

    def observe(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count one answered request; `route` is a template and never holds what a client wrote."""
        with self._lock:
            self._requests[route, method, status] += 1
            self._count[route] += 1
            self._seconds[route] += seconds  # type: ignore[assignment]  # a Counter adds floats too
            for bound in BUCKETS:
                if seconds <= bound:
                    self._buckets[route, bound] += 1

    def text(self, gauges: Mapping[str, float]) -> str:
        """All values, one a line; `gauges` are further ones by name."""
        lines = ["# TYPE mobilesam_requests_total counter"]
        with self._lock:
            for (route, method, status), count in sorted(self._requests.items()):
                labels = f'route="{route}",method="{method}",status="{status}"'
                lines.append(f"mobilesam_requests_total{{{labels}}} {count}")
            lines.append("# TYPE mobilesam_request_seconds histogram")
            for route in sorted(self._count):
                for bound in BUCKETS:
                    inside = self._buckets[route, bound]
                    lines.append(f'mobilesam_request_seconds_bucket{{route="{route}",le="{bound}"}} {inside}')
                total = self._count[route]
                lines.append(f'mobilesam_request_seconds_bucket{{route="{route}",le="+Inf"}} {total}')
                lines.append(f'mobilesam_request_seconds_sum{{route="{route}"}} {self._seconds[route]:.6f}')
                lines.append(f'mobilesam_request_seconds_count{{route="{route}"}} {total}')
        for name, value in {**gauges, "worker_pid": os.getpid()}.items():
            lines += [f"# TYPE mobilesam_{name} gauge", f"mobilesam_{name} {value:g}"]
        return "\n".join([*lines, ""])
