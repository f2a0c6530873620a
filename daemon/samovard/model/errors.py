"""Every way in which samovar says no.

One root class. Each class has a stable `code`, says whose fault it is and whether a retry can help; its message
says what failed, the value seen, and what to do next. Nothing in samovar matches on message text.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any, ClassVar, Literal

Fault = Literal["caller", "backend", "daemon"]


class SamovarError(Exception):
    """The root. `data` holds what a program may want beside the message (a ticket, the nearest name)."""

    code: ClassVar[str] = "internal"
    fault: ClassVar[Fault] = "daemon"
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, **data: Any) -> None:
        super().__init__(message)
        self.message = message
        self.data = data

    def as_dict(self) -> dict[str, Any]:
        """The error as it goes over the wire and into the journal."""
        return {
            "code": self.code,
            "message": self.message,
            "fault": self.fault,
            "retryable": self.retryable,
            "data": self.data,
        }


LONGEST_SHOWN = 80
"""Characters of a value that a message repeats."""


def shown(value: object) -> str:
    """A value as a message repeats it: its repr, cut where it is long."""
    text = repr(value[: LONGEST_SHOWN + 1] if isinstance(value, str | bytes) else value)
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}…"


def nearest(value: str, known: Iterable[str]) -> str:
    """`" Did you mean 'x'?"` for the closest of `known`, or nothing."""
    if len(value) > LONGEST_SHOWN:
        return ""
    close = get_close_matches(value, list(known), n=1, cutoff=0.6)
    return f" Did you mean {close[0]!r}?" if close else ""


class CallerError(SamovarError):
    """The request was wrong; sending it again unchanged fails again."""

    code = "invalid_request"
    fault = "caller"


class UnknownSession(CallerError):
    """No live session has this name."""

    code = "unknown_session"

    def __init__(self, name: str, known: Iterable[str] = ()) -> None:
        hint = nearest(name, known)
        super().__init__(f"there is no session {shown(name)}.{hint or ' `samovar list` shows the live ones.'}")


class NameInUse(CallerError):
    """A live session has this name already."""

    code = "name_in_use"

    def __init__(self, name: str) -> None:
        super().__init__(f"a session named {name!r} is live already; choose another name, or `samovar kill {name}`")


class InvalidName(CallerError):
    """A name that no session may have."""

    code = "invalid_name"

    def __init__(self, name: str) -> None:
        super().__init__(
            f"{shown(name)} can't be a session's name: use 1 to 64 letters, digits, '_', '-', '.' or ':', "
            "beginning with a letter or a digit"
        )


class EmptyPrompt(CallerError):
    """A prompt of nothing but white space."""

    code = "empty_prompt"

    def __init__(self) -> None:
        super().__init__("the prompt is empty; give some text, or a file with some in it")


class PromptTooLarge(CallerError):
    """A prompt over the limit, counted in bytes of UTF-8."""

    code = "prompt_too_large"

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(
            f"the prompt has {size:,} bytes and the limit is {limit:,}; send it in parts, or only what matters"
        )


class UnknownOp(CallerError):
    """The daemon has no such op."""

    code = "unknown_op"

    def __init__(self, op: str, known: Iterable[str]) -> None:
        super().__init__(f"there is no op {shown(op)}.{nearest(op, known) or ' `samovar describe` lists all.'}")


class InvalidArgument(CallerError):
    """An argument that is unknown, missing, or of the wrong type or range."""

    code = "invalid_argument"


class UnknownModel(CallerError):
    """No such model, and no backend whose model it could be."""

    code = "unknown_model"

    def __init__(self, model: str, known: Iterable[str]) -> None:
        hint = nearest(model, known)
        super().__init__(f"there is no model {shown(model)}.{hint or ' `samovar models` lists what there is.'}")


class UnknownTicket(CallerError):
    """No ask has this ticket."""

    code = "unknown_ticket"

    def __init__(self, ticket: str) -> None:
        super().__init__(
            f"there is no ask with the ticket {shown(ticket)}; `ask-async` prints a ticket, `status NAME` lists them"
        )


class UnknownMessage(CallerError):
    """The session's history has no such message, or more than one that the prefix fits."""

    code = "unknown_message"


class SessionBusy(CallerError):
    """The session can't do this while asks are running or waiting, or no more may wait."""

    code = "session_busy"
    retryable = True


class NoReply(CallerError):
    """There is no reply to relay yet."""

    code = "no_reply"

    def __init__(self, name: str) -> None:
        super().__init__(f"session {name!r} has no reply to relay yet; ask it something first")


class MalformedRequest(CallerError):
    """Frames that are not a request of ours."""

    code = "malformed_request"


class ProtocolMismatch(CallerError):
    """The two ends speak different versions of the wire."""

    code = "protocol_mismatch"


class Cancelled(CallerError):
    """The ask, or the call that waited for it, was cancelled."""

    code = "cancelled"


class BackendError(SamovarError):
    """The provider, or the code that speaks to it, failed."""

    code = "provider_error"
    fault = "backend"


class ModelUnavailable(BackendError):
    """The model is known and can't be used now."""

    code = "model_unavailable"


class MalformedResponse(BackendError):
    """The provider's stream broke its contract."""

    code = "malformed_response"


class DaemonError(SamovarError):
    """The daemon itself can't."""


class JournalUnwritable(DaemonError):
    """The journal refused a write; nothing of it was kept, and reads still work."""

    code = "journal_unwritable"
    retryable = True


class JournalNewer(DaemonError):
    """The journal was written by a newer samovar."""

    code = "journal_newer"


class JournalUnreadable(DaemonError):
    """The journal's file can't be opened or is no journal of ours."""

    code = "journal_unreadable"


class HomeUnusable(DaemonError):
    """The home, or its run folder, can't be used as it is."""

    code = "home_unusable"


class AlreadyRunning(DaemonError):
    """Another daemon holds this home."""

    code = "already_running"


class ConfigInvalid(CallerError):
    """`samovar.yaml` says something that samovar does not understand."""

    code = "invalid_config"


class ShuttingDown(DaemonError):
    """The daemon takes no more asks because it is about to end."""

    code = "shutting_down"
    retryable = True

    def __init__(self) -> None:
        super().__init__("the daemon is shutting down and takes no more asks; try again once it is up")


class Interrupted(DaemonError):
    """The daemon ended while the ask was under way."""

    code = "interrupted"
    retryable = True

    def __init__(self, ticket: str) -> None:
        super().__init__(
            f"the daemon ended while ask {ticket} was under way; its prompt is kept, its reply is not. Ask again",
            ask=ticket,
        )


class Internal(DaemonError):
    """A fault of samovar's own; the log has the details."""

    code = "internal"


def codes() -> dict[str, str]:
    """Every code with its meaning, told by the class that has it."""
    found: dict[str, str] = {}
    pending: list[type[SamovarError]] = [SamovarError]
    while pending:
        kind = pending.pop()
        pending += kind.__subclasses__()
        if "code" in vars(kind) and kind.__doc__ and kind is not SamovarError:
            found[kind.code] = kind.__doc__.strip().split("\n")[0]
    return dict(sorted(found.items()))
