"""A figure: what was measured, what stands beside it, and what it is to be. And the table that figures make."""

from __future__ import annotations

import json
import os
import platform
import tempfile
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal

Judged = Literal["ratio", "ours", "more"]


@dataclass(frozen=True, slots=True)
class Figure:
    """One row. `judged` says what the limit is about: the ratio, our own value, or how much more it is than `beside`.

    A figure without a limit is there to be looked at.
    """

    name: str
    ours: float
    unit: str
    beside: float
    peer: str
    """What `beside` was measured of."""
    limit: float | None = None
    judged: Judged = "ratio"
    at_least: bool = False

    @property
    def ratio(self) -> float:
        """Ours by the other."""
        return self.ours / self.beside

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None where there is none."""
        if self.limit is None:
            return None
        value = {"ratio": self.ratio, "ours": self.ours, "more": self.ours - self.beside}[self.judged]
        return value >= self.limit if self.at_least else value <= self.limit

    @property
    def target(self) -> str:
        """The target in words."""
        if self.limit is None:
            return "-"
        sign = "≥" if self.at_least else "≤"
        shown = {"ratio": f"{self.limit:g}x", "ours": _with(self.limit, self.unit)}
        return f"{sign} {shown.get(self.judged) or '+' + _with(self.limit, self.unit)}"

    def cells(self) -> tuple[str, ...]:
        """The row of the table."""
        met = {True: "yes", False: "NO", None: "-"}[self.met]
        beside = f"{_with(self.beside, self.unit)} ({self.peer})"
        return self.name, _with(self.ours, self.unit), beside, f"{self.ratio:.3g}x", self.target, met

    def as_dict(self) -> dict[str, Any]:
        """For a file."""
        return {**asdict(self), "ratio": self.ratio, "target": self.target, "met": self.met}


def _with(value: float, unit: str) -> str:
    return f"{value:,.0f} {unit}" if abs(value) >= 1000 else f"{value:.3g} {unit}"


_HEAD = ("figure", "ours", "beside it", "ratio", "target", "met?")


def table(figures: Iterable[Figure]) -> str:
    """All figures as a Markdown table whose columns are straight in a terminal too."""
    rows = [_HEAD, *(figure.cells() for figure in figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def surroundings() -> str:
    """Where this was measured: a figure without it says little."""
    load = os.getloadavg()[0]
    return (
        f"Python {platform.python_version()}, {platform.system()} {platform.machine()}, {os.cpu_count()} cores, "
        f"load {load:.2f} at the start, homes in {tempfile.gettempdir()}"
    )


def as_json(figures: Iterable[Figure], where: str) -> str:
    """All figures for another program."""
    return json.dumps(
        {"where": where, "figures": [figure.as_dict() for figure in figures]}, ensure_ascii=False, indent=1
    )
