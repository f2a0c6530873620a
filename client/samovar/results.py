"""What ops return. Made by `invoke generate`; changes here are lost."""

from __future__ import annotations

import builtins
from typing import Any, Literal, NamedTuple


class Usage(NamedTuple):
    """Tokens of one ask, or of many added up."""

    input: int
    output: int
    cache_read: int
    cache_write: int
    reasoning: int

    @classmethod
    def from_wire(cls, data: dict[str, Any]) -> Usage:
        """From the plain data that a daemon sends; unknown fields are left out."""
        return cls(
            input=data["input"],
            output=data["output"],
            cache_read=data["cache_read"],
            cache_write=data["cache_write"],
            reasoning=data["reasoning"],
        )


class Timing(NamedTuple):
    """Seconds. `queued_s` from the ask's arrival until it ran; the others from then on."""

    queued_s: float | None
    first_token_s: float | None
    total_s: float | None

    @classmethod
    def from_wire(cls, data: dict[str, Any]) -> Timing:
        """From the plain data that a daemon sends; unknown fields are left out."""
        return cls(
            queued_s=data["queued_s"],
            first_token_s=data["first_token_s"],
            total_s=data["total_s"],
        )


class ErrorView(NamedTuple):
    """Why an ask ended without a reply."""

    code: str
    message: str

    @classmethod
    def from_wire(cls, data: dict[str, Any]) -> ErrorView:
        """From the plain data that a daemon sends; unknown fields are left out."""
        return cls(
            code=data["code"],
            message=data["message"],
        )


class AskView(NamedTuple):
    """An ask as it is now. `text` is the reply, or as much of it as there is."""

    ask: str
    session: str
    model: str
    state: Literal["queued", "running", "done", "failed", "cancelled", "interrupted"]
    text: str
    message: str | None
    """The id of the reply in the session's history, once it is there."""
    stop_reason: str | None
    usage: Usage
    timing: Timing
    error: ErrorView | None
    created_at: float
    """In s since the epoch."""

    @classmethod
    def from_wire(cls, data: dict[str, Any]) -> AskView:
        """From the plain data that a daemon sends; unknown fields are left out."""
        return cls(
            ask=data["ask"],
            session=data["session"],
            model=data["model"],
            state=data["state"],
            text=data["text"],
            message=data["message"],
            stop_reason=data["stop_reason"],
            usage=Usage.from_wire(data["usage"]),
            timing=Timing.from_wire(data["timing"]),
            error=ErrorView.from_wire(data["error"]) if data["error"] is not None else None,
            created_at=data["created_at"],
        )


class OutcomeView(NamedTuple):
    """What one session made of a broadcast: a finished ask, or the error that kept it from asking."""

    session: str
    ask: AskView | None
    error: ErrorView | None

    @classmethod
    def from_wire(cls, data: dict[str, Any]) -> OutcomeView:
        """From the plain data that a daemon sends; unknown fields are left out."""
        return cls(
            session=data["session"],
            ask=AskView.from_wire(data["ask"]) if data["ask"] is not None else None,
            error=ErrorView.from_wire(data["error"]) if data["error"] is not None else None,
        )


class BroadcastView(NamedTuple):
    """A broadcast's outcomes, in the order in which the sessions were named."""

    outcomes: builtins.list[OutcomeView]
    replied: int
    failed: int

    @classmethod
    def from_wire(cls, data: dict[str, Any]) -> BroadcastView:
        """From the plain data that a daemon sends; unknown fields are left out."""
        return cls(
            outcomes=[OutcomeView.from_wire(item) for item in data["outcomes"]],
            replied=data["replied"],
            failed=data["failed"],
        )


class ParamView(NamedTuple):
    """One argument of an op. `kind` tells a face how to read it: see `samovard.ops.registry`."""

    name: str
    kind: str
    required: bool
    default: Any
    doc: str

    @classmethod
    def from_wire(cls, data: dict[str, Any]) -> ParamView:
        """From the plain data that a daemon sends; unknown fields are left out."""
        return cls(
            name=data["name"],
            kind=data["kind"],
            required=data["required"],
            default=data["default"],
            doc=data["doc"],
        )


class OpView(NamedTuple):
    """An op's descriptor."""

    name: str
    effect: str
    summary: str
    doc: str
    streams: bool
    params: builtins.list[ParamView]
    returns: str

    @classmethod
    def from_wire(cls, data: dict[str, Any]) -> OpView:
        """From the plain data that a daemon sends; unknown fields are left out."""
        return cls(
            name=data["name"],
            effect=data["effect"],
            summary=data["summary"],
            doc=data["doc"],
            streams=data["streams"],
            params=[ParamView.from_wire(item) for item in data["params"]],
            returns=data["returns"],
        )


class DescribeView(NamedTuple):
    """What the daemon can do."""

    version: str
    protocol: int
    ops: builtins.list[OpView]
    errors: dict[str, str]
    """Error code -> what it means."""

    @classmethod
    def from_wire(cls, data: dict[str, Any]) -> DescribeView:
        """From the plain data that a daemon sends; unknown fields are left out."""
        return cls(
            version=data["version"],
            protocol=data["protocol"],
            ops=[OpView.from_wire(item) for item in data["ops"]],
            errors=data["errors"],
        )


class MessageView(NamedTuple):
    """One message of a session's history."""

    number: int
    id: str
    role: str
    content: str
    at: float

    @classmethod
    def from_wire(cls, data: dict[str, Any]) -> MessageView:
        """From the plain data that a daemon sends; unknown fields are left out."""
        return cls(
            number=data["number"],
            id=data["id"],
            role=data["role"],
            content=data["content"],
            at=data["at"],
        )


class HistoryView(NamedTuple):
    """A session's history, the oldest message first."""

    session: str
    model: str
    forked_from: str | None
    total: int
    """How many messages there are, where `messages` holds only the last of them."""
    messages: builtins.list[MessageView]

    @classmethod
    def from_wire(cls, data: dict[str, Any]) -> HistoryView:
        """From the plain data that a daemon sends; unknown fields are left out."""
        return cls(
            session=data["session"],
            model=data["model"],
            forked_from=data["forked_from"],
            total=data["total"],
            messages=[MessageView.from_wire(item) for item in data["messages"]],
        )


class KillView(NamedTuple):
    """Which sessions ended, and how many asks were cancelled with them."""

    killed: int
    names: builtins.list[str]
    cancelled_asks: int

    @classmethod
    def from_wire(cls, data: dict[str, Any]) -> KillView:
        """From the plain data that a daemon sends; unknown fields are left out."""
        return cls(
            killed=data["killed"],
            names=data["names"],
            cancelled_asks=data["cancelled_asks"],
        )


class ModelView(NamedTuple):
    """A model that sessions can name."""

    model: str
    backend: str
    id: str
    available: bool
    default: bool
    context_window: int | None
    max_output: int | None
    description: str

    @classmethod
    def from_wire(cls, data: dict[str, Any]) -> ModelView:
        """From the plain data that a daemon sends; unknown fields are left out."""
        return cls(
            model=data["model"],
            backend=data["backend"],
            id=data["id"],
            available=data["available"],
            default=data["default"],
            context_window=data["context_window"],
            max_output=data["max_output"],
            description=data["description"],
        )


class PingView(NamedTuple):
    """A sign of life."""

    version: str
    protocol: int
    pid: int

    @classmethod
    def from_wire(cls, data: dict[str, Any]) -> PingView:
        """From the plain data that a daemon sends; unknown fields are left out."""
        return cls(
            version=data["version"],
            protocol=data["protocol"],
            pid=data["pid"],
        )


class SessionView(NamedTuple):
    """A session as it is now. `messages` counts its history, the system prompt included."""

    name: str
    model: str
    state: Literal["idle", "busy", "killed"]
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

    @classmethod
    def from_wire(cls, data: dict[str, Any]) -> SessionView:
        """From the plain data that a daemon sends; unknown fields are left out."""
        return cls(
            name=data["name"],
            model=data["model"],
            state=data["state"],
            messages=data["messages"],
            asks=data["asks"],
            queued=data["queued"],
            usage=Usage.from_wire(data["usage"]),
            forked_from=data["forked_from"],
            forked_at=data["forked_at"],
            head=data["head"],
            settings=data["settings"],
            created_at=data["created_at"],
        )


class ShutdownView(NamedTuple):
    """The shutdown has begun; asks under way have `grace_s` to end."""

    pid: int
    grace_s: float
    running: int

    @classmethod
    def from_wire(cls, data: dict[str, Any]) -> ShutdownView:
        """From the plain data that a daemon sends; unknown fields are left out."""
        return cls(
            pid=data["pid"],
            grace_s=data["grace_s"],
            running=data["running"],
        )


class StatusView(NamedTuple):
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
    interrupted: builtins.list[AskView]
    """The asks that were under way when the previous daemon ended, the newest first, 100 at most."""
    session: SessionView | None
    asks: builtins.list[AskView]
    """The session's latest asks, the newest first, 20 at most."""

    @classmethod
    def from_wire(cls, data: dict[str, Any]) -> StatusView:
        """From the plain data that a daemon sends; unknown fields are left out."""
        return cls(
            version=data["version"],
            protocol=data["protocol"],
            pid=data["pid"],
            home=data["home"],
            uptime_s=data["uptime_s"],
            sessions=data["sessions"],
            running=data["running"],
            queued=data["queued"],
            interrupted=[AskView.from_wire(item) for item in data["interrupted"]],
            session=SessionView.from_wire(data["session"]) if data["session"] is not None else None,
            asks=[AskView.from_wire(item) for item in data["asks"]],
        )
