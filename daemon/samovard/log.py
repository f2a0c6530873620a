"""The structured log, a facade over loguru in the manner of Clojure's trove.

A line is an event id (`session/spawned`), a level and data. The event id never varies; what varies goes into the
data, so that a log can be searched by either. Below the level in force a call costs one comparison. A log that
can't be written (a full disk) loses lines and nothing else.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
import traceback
from datetime import datetime
from pathlib import Path
from typing import Any

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}

FILE = "agent-communication.log"
_ROTATE_AT = "10 MB"
_KEEP = 5


class _Sinks:
    """Where lines go: nowhere until `configure` has been called."""

    threshold = 100
    logger: Any = None
    terminal = False


def configure(folder: Path, *, level: str = "info", terminal: bool = False) -> None:
    """From now on lines go as JSON to `folder`/agent-communication.log and, in the foreground, as text to stderr."""
    from loguru import logger  # 50 ms that only a daemon pays

    logger.remove()
    options: dict[str, Any] = {"level": 0, "catch": False}
    logger.add(
        str(folder / FILE).replace("{", "{{").replace("}", "}}"),  # loguru reads braces as a time's format
        format=lambda _: "{extra[line]}\n",
        rotation=_ROTATE_AT,
        retention=_KEEP,
        opener=lambda path, flags: os.open(path, flags, 0o600),
        **options,
    )
    if terminal:
        # A copy of the real one: the kernel takes descriptor 2, to send what cells write there to their clients.
        stderr = os.fdopen(os.dup(2), "w", encoding="utf-8", buffering=1)
        logger.add(stderr, format=lambda _: "{extra[text]}\n", **options)
    _Sinks.logger, _Sinks.terminal, _Sinks.threshold = logger, terminal, LEVELS[level]


def debug(event: str, **data: Any) -> None:
    """What only matters when something is being looked for."""
    if _Sinks.threshold <= LEVELS["debug"]:
        _write("debug", event, data)


def info(event: str, **data: Any) -> None:
    """What happened."""
    if _Sinks.threshold <= LEVELS["info"]:
        _write("info", event, data)


def warning(event: str, **data: Any) -> None:
    """What a person may want to look at."""
    if _Sinks.threshold <= LEVELS["warning"]:
        _write("warning", event, data)


def error(event: str, *, exception: BaseException | None = None, **data: Any) -> None:
    """What went wrong; `exception` adds its traceback to the line."""
    if exception is not None:
        data["traceback"] = "".join(traceback.format_exception(exception))
    if _Sinks.threshold <= LEVELS["error"]:
        _write("error", event, data)


def _write(level: str, event: str, data: dict[str, Any]) -> None:
    now = time.time()
    entry = {"at": round(now, 6), "level": level, "event": event, **data}
    line = json.dumps(entry, ensure_ascii=False, default=str)
    text = as_text(entry) if _Sinks.terminal else ""
    with contextlib.suppress(OSError):
        _Sinks.logger.bind(line=line, text=text).log(level.upper(), "")


def as_text(entry: dict[str, Any]) -> str:
    """An entry of the log as a person reads it, in local time."""
    rest = dict(entry)
    at = datetime.fromtimestamp(rest.pop("at")).strftime("%H:%M:%S.%f")[:-3]
    level, event = rest.pop("level"), rest.pop("event")
    trace = rest.pop("traceback", "")
    data = " ".join(f"{key}={value}" for key, value in rest.items())
    return f"{at} {level:<7} {event:<24} {data}" + (f"\n{trace}" if trace else "")
