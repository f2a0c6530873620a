"""Ops on sessions: making, forking, listing and ending them."""

from __future__ import annotations

from samovard.core import Core
from samovard.model.views import HistoryView, KillView, SessionView

from .arguments import (
    Last,
    MessageRef,
    ModelName,
    NewName,
    SessionRef,
    SessionRefs,
    Settings,
    SomeMessage,
    System,
)
from .registry import op


@op(effect="write")
async def spawn(
    core: Core, *, name: NewName, model: ModelName = None, system: System = None, settings: Settings
) -> SessionView:
    """Starts a session: a named, live conversation with one model.

    Errors: invalid_name, name_in_use, unknown_model, model_unavailable, invalid_argument (a setting).
    """
    return await core.sessions.spawn(name, model, system, settings)


@op(effect="write")
async def fork(
    core: Core, *, session: SessionRef, new: NewName, at: SomeMessage = None, model: ModelName = None
) -> SessionView:
    """Starts `new` from the history of `session`, or from an earlier message of it; nothing is copied.

    On another model, the settings that it does not have are left out. An ask that is under way is not part of the
    fork. Errors: unknown_session, invalid_name, name_in_use, unknown_message, unknown_model, model_unavailable.
    """
    return await core.sessions.fork(session, new, at, model)


@op(effect="write")
async def rewind(core: Core, *, session: SessionRef, to: MessageRef) -> SessionView:
    """Moves a session's head back to an earlier message; what came after it stays in the journal.

    Errors: unknown_session, unknown_message, session_busy (an ask is under way).
    """
    return await core.sessions.rewind(session, to)


@op(effect="read")
async def list_(core: Core) -> list[SessionView]:
    """Lists the live sessions, the oldest first, with who was forked from whom."""
    return await core.sessions.views()


@op(effect="read")
async def history(core: Core, *, session: SessionRef, last: Last = None) -> HistoryView:
    """Returns a session's messages, the oldest first.

    Errors: unknown_session.
    """
    return await core.sessions.history(session, last)


@op(effect="write")
async def kill(core: Core, *, sessions: SessionRefs) -> KillView:
    """Ends sessions: their asks are cancelled, their names are free, their journal stays.

    Where one name is unknown, none is ended. Errors: unknown_session.
    """
    return await core.sessions.kill(sessions)


@op(effect="write")
async def kill_all(core: Core) -> KillView:
    """Ends every live session, and says how many there were."""
    return await core.sessions.kill_all()
