"""What ops return. The client's result types (`samovar.results`) are generated from these classes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .backend import Usage
from .states import AskState, SessionState


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds. `queued_s` from the ask's arrival until it ran; the others from then on."""

    queued_s: float | None = None
    first_token_s: float | None = None
    total_s: float | None = None


@dataclass(frozen=True, slots=True)
class ErrorView:
    """Why an ask ended without a reply."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class AskView:
    """An ask as it is now. `text` is the reply, or as much of it as there is."""

    ask: str
    session: str
    model: str
    state: AskState
    text: str
    message: str | None
    """The id of the reply in the session's history, once it is there."""
    stop_reason: str | None
    usage: Usage
    timing: Timing
    error: ErrorView | None
    created_at: float
    """In s since the epoch."""


@dataclass(frozen=True, slots=True)
class SessionView:
    """A session as it is now. `messages` counts its history, the system prompt included."""

    name: str
    model: str
    state: SessionState
    messages: int
    asks: int
    """Asks that ended with a reply."""
    queued: int
    usage: Usage
    """What its own asks have used; what came before a fork is its parent's."""
    forked_from: str | None
    forked_at: str | None
    head: str | None
    settings: dict[str, Any]
    created_at: float


@dataclass(frozen=True, slots=True)
class MessageView:
    """One message of a session's history."""

    number: int
    id: str
    role: str
    content: str
    at: float


@dataclass(frozen=True, slots=True)
class HistoryView:
    """A session's history, the oldest message first."""

    session: str
    model: str
    forked_from: str | None
    total: int
    """How many messages there are, where `messages` holds only the last of them."""
    messages: list[MessageView]


@dataclass(frozen=True, slots=True)
class OutcomeView:
    """What one session made of a broadcast: a finished ask, or the error that kept it from asking."""

    session: str
    ask: AskView | None
    error: ErrorView | None


@dataclass(frozen=True, slots=True)
class BroadcastView:
    """A broadcast's outcomes, in the order in which the sessions were named."""

    outcomes: list[OutcomeView]
    replied: int
    failed: int


@dataclass(frozen=True, slots=True)
class KillView:
    """Which sessions ended, and how many asks were cancelled with them."""

    killed: int
    names: list[str]
    cancelled_asks: int


@dataclass(frozen=True, slots=True)
class ModelView:
    """A model that sessions can name."""

    model: str
    backend: str
    id: str
    available: bool
    default: bool
    context_window: int | None
    max_output: int | None
    description: str


@dataclass(frozen=True, slots=True)
class StatusView:
    """The daemon, and the session that was asked about."""

    version: str
    protocol: int
    pid: int
    home: str
    uptime_s: float
    sessions: int
    running: int
    """Asks under way in all sessions."""
    queued: int
    interrupted: list[AskView]
    """The asks that were under way when the previous daemon ended, the newest first, 100 at most."""
    session: SessionView | None
    asks: list[AskView]
    """The session's latest asks, the newest first, 20 at most."""


@dataclass(frozen=True, slots=True)
class PingView:
    """A sign of life."""

    version: str
    protocol: int
    pid: int


@dataclass(frozen=True, slots=True)
class ParamView:
    """One argument of an op. `kind` tells a face how to read it: see `samovard.ops.registry`."""

    name: str
    kind: str
    required: bool
    default: Any
    doc: str


@dataclass(frozen=True, slots=True)
class OpView:
    """An op's descriptor."""

    name: str
    effect: str
    summary: str
    doc: str
    streams: bool
    params: list[ParamView]
    returns: str


@dataclass(frozen=True, slots=True)
class DescribeView:
    """What the daemon can do."""

    version: str
    protocol: int
    ops: list[OpView]
    errors: dict[str, str] = field(default_factory=dict)
    """Error code -> what it means."""


@dataclass(frozen=True, slots=True)
class ShutdownView:
    """The shutdown has begun; asks under way have `grace_s` to end."""

    pid: int
    grace_s: float
    running: int
