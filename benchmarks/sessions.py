"""A home with 10,000 sessions of 20 messages: its daemon is to start as fast as that of an empty home.

The time is from the start of the process to the first answered ping; both homes have a migrated journal, both have been
started once before, and they start turn by turn. The memory is the daemon's resident size after that ping, and, to be
looked at, after a `list` of all sessions.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from statistics import median
from typing import NamedTuple

from benchmarks import journals
from benchmarks.figure import Figure
from benchmarks.homes import daemon, home, resident_mb, settle
from benchmarks.stopwatch import collected
from samovar import Client, Home


class _Start(NamedTuple):
    took_ms: float
    after_ping_mb: float
    after_list_mb: float


def figures(quick: bool) -> list[Figure]:
    """Start and memory."""
    count = 100 if quick else 10_000
    with home() as full, home() as empty:
        journals.write(full, {f"s{number}": 20 for number in range(count)})
        for each in (full, empty):
            settle(each)
        ours, beside = map(_medians, collected(1 if quick else 9, lambda: [_start(full)], lambda: [_start(empty)]))
    named, peer = f"with {count:,} sessions", "an empty home"
    return [
        Figure(f"start {named}, to the first ping", ours.took_ms, "ms", beside.took_ms, peer, 1.2),
        Figure(f"memory {named}, after a ping", ours.after_ping_mb, "MB", beside.after_ping_mb, peer, 10, "more"),
        Figure(f"memory {named}, after a list", ours.after_list_mb, "MB", beside.after_list_mb, peer),
    ]


def _start(home: Home) -> _Start:
    began = time.perf_counter()
    with daemon(home) as process, Client(home, start=False) as client:
        client.ping()
        took_ms = (time.perf_counter() - began) * 1000
        after_ping_mb = resident_mb(process.pid)
        client.list()
        return _Start(took_ms, after_ping_mb, resident_mb(process.pid))


def _medians(starts: Sequence[_Start]) -> _Start:
    return _Start(*map(median, zip(*starts, strict=True)))
