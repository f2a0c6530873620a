"""Measuring: the time of a call, percentiles, and two or more things turn by turn."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import TypeVar

Action = Callable[[], object]
Value = TypeVar("Value")


def seconds(action: Action) -> float:
    """How long `action` takes."""
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def repeated(action: Action, count: int) -> list[float]:
    """How long each of `count` calls takes, in ms."""
    return [seconds(action) * 1000 for _ in range(count)]


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest of the values that `percent` of them do not exceed."""
    return sorted(values)[max(0, math.ceil(len(values) * percent / 100) - 1)]


def collected(rounds: int, *measures: Callable[[], Sequence[Value]]) -> list[list[Value]]:
    """What each measure gave in all rounds together; every other round goes through them backwards."""
    found: list[list[Value]] = [[] for _ in measures]
    for number in range(rounds):
        order = list(zip(measures, found, strict=True))
        for measure, values in order if number % 2 == 0 else reversed(order):
            values.extend(measure())
    return found


def turn_by_turn(rounds: int, *measures: Callable[[], float]) -> list[float]:
    """The median of each measure over the rounds."""
    return [median(values) for values in collected(rounds, *map(_as_list, measures))]


def _as_list(measure: Callable[[], float]) -> Callable[[], list[float]]:
    return lambda: [measure()]
