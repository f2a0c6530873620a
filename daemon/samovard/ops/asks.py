"""Ops that ask: in one session, in the background, across sessions."""

from __future__ import annotations

from samovard.core import Core
from samovard.core.ask import Listener
from samovard.model.views import AskView, BroadcastView

from .arguments import Note, Prompt, SessionRef, SomeSessions, Ticket, WaitS
from .registry import op


@op(effect="write")
async def ask(core: Core, *, session: SessionRef, prompt: Prompt, listener: Listener | None = None) -> AskView:
    """Asks a session and returns its reply; the text streams as it comes.

    Asks in one session run in the order they came. Whoever cancels the call cancels the ask.
    Errors: unknown_session, empty_prompt, prompt_too_large, session_busy, cancelled, interrupted, the backend's.
    """
    return await core.asks.ask(session, prompt, listener)


@op(effect="write")
async def ask_async(core: Core, *, session: SessionRef, prompt: Prompt) -> AskView:
    """Asks a session and returns at once; the result's `ask` is the ticket that `poll` takes.

    Errors: unknown_session, empty_prompt, prompt_too_large, session_busy.
    """
    return (await core.asks.submit(session, prompt)).view()


@op(effect="read")
async def poll(core: Core, *, ticket: Ticket, wait_s: WaitS = 0.0) -> AskView:
    """Returns an ask as it is now, with the text so far; any client may, also after a restart.

    Errors: unknown_ticket.
    """
    return await core.asks.poll(ticket, wait_s)


@op(effect="write")
async def cancel(core: Core, *, ticket: Ticket) -> AskView:
    """Stops an ask that is waiting or running; its session goes on, its history without the half reply.

    An ask that has ended stays as it is. Errors: unknown_ticket.
    """
    return await core.asks.cancel(ticket)


@op(effect="write")
async def relay(
    core: Core,
    *,
    source: SessionRef,
    target: SessionRef,
    note: Note = None,
    listener: Listener | None = None,
) -> AskView:
    """Asks one session the last reply of another, with an optional note before it.

    Errors: unknown_session, no_reply, and those of `ask`.
    """
    return await core.asks.relay(source, target, note, listener)


@op(effect="write")
async def broadcast(
    core: Core, *, prompt: Prompt, sessions: SomeSessions = None, listener: Listener | None = None
) -> BroadcastView:
    """Asks many sessions one prompt at once; returns every reply, and every failure, by name.

    Errors: empty_prompt, prompt_too_large.
    """
    return await core.asks.broadcast(prompt, sessions, listener)
