"""One typed method per op, blocking and awaited. Made by `invoke generate`; changes here are lost."""

from __future__ import annotations

import builtins
from typing import Any

from .results import (
    AskView,
    BroadcastView,
    DescribeView,
    HistoryView,
    KillView,
    ModelView,
    PingView,
    SessionView,
    ShutdownView,
    StatusView,
)


class Api:
    """One method per op. The transport that a subclass brings is `call`."""

    def call(self, op: str, **args: Any) -> Any:
        """Calls an op by name and returns its result as plain data."""
        raise NotImplementedError

    def _ask_for(self, op: str, **args: Any) -> Any:
        """Calls an op with those of its arguments that were given."""
        return self.call(op, **{name: value for name, value in args.items() if value is not None})

    def ask(self, session: str, prompt: str) -> AskView:
        """Asks a session and returns its reply; the text streams as it comes.

        Asks in one session run in the order they came. Whoever cancels the call cancels the ask.
        Errors: unknown_session, empty_prompt, prompt_too_large, session_busy, cancelled, interrupted, the backend's.
        """
        found = self._ask_for("ask", session=session, prompt=prompt)
        return AskView.from_wire(found)

    def ask_async(self, session: str, prompt: str) -> AskView:
        """Asks a session and returns at once; the result's `ask` is the ticket that `poll` takes.

        Errors: unknown_session, empty_prompt, prompt_too_large, session_busy.
        """
        found = self._ask_for("ask-async", session=session, prompt=prompt)
        return AskView.from_wire(found)

    def broadcast(self, prompt: str, *, sessions: builtins.list[str] | None = None) -> BroadcastView:
        """Asks many sessions one prompt at once; returns every reply, and every failure, by name.

        Errors: empty_prompt, prompt_too_large.
        """
        found = self._ask_for("broadcast", prompt=prompt, sessions=sessions)
        return BroadcastView.from_wire(found)

    def cancel(self, ticket: str) -> AskView:
        """Stops an ask that is waiting or running; its session goes on, its history without the half reply.

        An ask that has ended stays as it is. Errors: unknown_ticket.
        """
        found = self._ask_for("cancel", ticket=ticket)
        return AskView.from_wire(found)

    def describe(self) -> DescribeView:
        """Returns every op with its arguments, and every error code with its meaning."""
        found = self._ask_for("describe")
        return DescribeView.from_wire(found)

    def fork(self, session: str, new: str, *, at: str | None = None, model: str | None = None) -> SessionView:
        """Starts `new` from the history of `session`, or from an earlier message of it; nothing is copied.

        On another model, the settings that it does not have are left out. An ask that is under way is not part of the
        fork. Errors: unknown_session, invalid_name, name_in_use, unknown_message, unknown_model, model_unavailable.
        """
        found = self._ask_for("fork", session=session, new=new, at=at, model=model)
        return SessionView.from_wire(found)

    def history(self, session: str, *, last: int | None = None) -> HistoryView:
        """Returns a session's messages, the oldest first.

        Errors: unknown_session.
        """
        found = self._ask_for("history", session=session, last=last)
        return HistoryView.from_wire(found)

    def kill(self, sessions: builtins.list[str]) -> KillView:
        """Ends sessions: their asks are cancelled, their names are free, their journal stays.

        Where one name is unknown, none is ended. Errors: unknown_session.
        """
        found = self._ask_for("kill", sessions=sessions)
        return KillView.from_wire(found)

    def kill_all(self) -> KillView:
        """Ends every live session, and says how many there were."""
        found = self._ask_for("kill-all")
        return KillView.from_wire(found)

    def list(self) -> builtins.list[SessionView]:
        """Lists the live sessions, the oldest first, with who was forked from whom."""
        found = self._ask_for("list")
        return [SessionView.from_wire(item) for item in found]

    def models(self) -> builtins.list[ModelView]:
        """Lists the models that sessions can be spawned on, the default first."""
        found = self._ask_for("models")
        return [ModelView.from_wire(item) for item in found]

    def ping(self) -> PingView:
        """Answers, and says which daemon it was."""
        found = self._ask_for("ping")
        return PingView.from_wire(found)

    def poll(self, ticket: str, *, wait_s: float = 0.0) -> AskView:
        """Returns an ask as it is now, with the text so far; any client may, also after a restart.

        Errors: unknown_ticket.
        """
        found = self._ask_for("poll", ticket=ticket, wait_s=wait_s)
        return AskView.from_wire(found)

    def relay(self, source: str, target: str, *, note: str | None = None) -> AskView:
        """Asks one session the last reply of another, with an optional note before it.

        Errors: unknown_session, no_reply, and those of `ask`.
        """
        found = self._ask_for("relay", source=source, target=target, note=note)
        return AskView.from_wire(found)

    def rewind(self, session: str, to: str) -> SessionView:
        """Moves a session's head back to an earlier message; what came after it stays in the journal.

        Errors: unknown_session, unknown_message, session_busy (an ask is under way).
        """
        found = self._ask_for("rewind", session=session, to=to)
        return SessionView.from_wire(found)

    def shutdown(self, *, grace_s: float | None = None) -> ShutdownView:
        """Ends the daemon: no more asks are taken, running ones may end within the grace, the rest are interrupted.

        Returns as soon as that has begun.
        """
        found = self._ask_for("shutdown", grace_s=grace_s)
        return ShutdownView.from_wire(found)

    def spawn(
        self, name: str, *, model: str | None = None, system: str | None = None, settings: dict[str, Any] | None = None
    ) -> SessionView:
        """Starts a session: a named, live conversation with one model.

        Errors: invalid_name, name_in_use, unknown_model, model_unavailable, invalid_argument (a setting).
        """
        found = self._ask_for("spawn", name=name, model=model, system=system, settings=settings)
        return SessionView.from_wire(found)

    def status(self, *, session: str | None = None) -> StatusView:
        """Returns how the daemon is, what the last one's end interrupted, and how a session and its latest asks are.

        Errors: unknown_session.
        """
        found = self._ask_for("status", session=session)
        return StatusView.from_wire(found)


class AsyncApi:
    """One method per op. The transport that a subclass brings is `call`."""

    async def call(self, op: str, **args: Any) -> Any:
        """Calls an op by name and returns its result as plain data."""
        raise NotImplementedError

    async def _ask_for(self, op: str, **args: Any) -> Any:
        """Calls an op with those of its arguments that were given."""
        return await self.call(op, **{name: value for name, value in args.items() if value is not None})

    async def ask(self, session: str, prompt: str) -> AskView:
        """Asks a session and returns its reply; the text streams as it comes.

        Asks in one session run in the order they came. Whoever cancels the call cancels the ask.
        Errors: unknown_session, empty_prompt, prompt_too_large, session_busy, cancelled, interrupted, the backend's.
        """
        found = await self._ask_for("ask", session=session, prompt=prompt)
        return AskView.from_wire(found)

    async def ask_async(self, session: str, prompt: str) -> AskView:
        """Asks a session and returns at once; the result's `ask` is the ticket that `poll` takes.

        Errors: unknown_session, empty_prompt, prompt_too_large, session_busy.
        """
        found = await self._ask_for("ask-async", session=session, prompt=prompt)
        return AskView.from_wire(found)

    async def broadcast(self, prompt: str, *, sessions: builtins.list[str] | None = None) -> BroadcastView:
        """Asks many sessions one prompt at once; returns every reply, and every failure, by name.

        Errors: empty_prompt, prompt_too_large.
        """
        found = await self._ask_for("broadcast", prompt=prompt, sessions=sessions)
        return BroadcastView.from_wire(found)

    async def cancel(self, ticket: str) -> AskView:
        """Stops an ask that is waiting or running; its session goes on, its history without the half reply.

        An ask that has ended stays as it is. Errors: unknown_ticket.
        """
        found = await self._ask_for("cancel", ticket=ticket)
        return AskView.from_wire(found)

    async def describe(self) -> DescribeView:
        """Returns every op with its arguments, and every error code with its meaning."""
        found = await self._ask_for("describe")
        return DescribeView.from_wire(found)

    async def fork(self, session: str, new: str, *, at: str | None = None, model: str | None = None) -> SessionView:
        """Starts `new` from the history of `session`, or from an earlier message of it; nothing is copied.

        On another model, the settings that it does not have are left out. An ask that is under way is not part of the
        fork. Errors: unknown_session, invalid_name, name_in_use, unknown_message, unknown_model, model_unavailable.
        """
        found = await self._ask_for("fork", session=session, new=new, at=at, model=model)
        return SessionView.from_wire(found)

    async def history(self, session: str, *, last: int | None = None) -> HistoryView:
        """Returns a session's messages, the oldest first.

        Errors: unknown_session.
        """
        found = await self._ask_for("history", session=session, last=last)
        return HistoryView.from_wire(found)

    async def kill(self, sessions: builtins.list[str]) -> KillView:
        """Ends sessions: their asks are cancelled, their names are free, their journal stays.

        Where one name is unknown, none is ended. Errors: unknown_session.
        """
        found = await self._ask_for("kill", sessions=sessions)
        return KillView.from_wire(found)

    async def kill_all(self) -> KillView:
        """Ends every live session, and says how many there were."""
        found = await self._ask_for("kill-all")
        return KillView.from_wire(found)

    async def list(self) -> builtins.list[SessionView]:
        """Lists the live sessions, the oldest first, with who was forked from whom."""
        found = await self._ask_for("list")
        return [SessionView.from_wire(item) for item in found]

    async def models(self) -> builtins.list[ModelView]:
        """Lists the models that sessions can be spawned on, the default first."""
        found = await self._ask_for("models")
        return [ModelView.from_wire(item) for item in found]

    async def ping(self) -> PingView:
        """Answers, and says which daemon it was."""
        found = await self._ask_for("ping")
        return PingView.from_wire(found)

    async def poll(self, ticket: str, *, wait_s: float = 0.0) -> AskView:
        """Returns an ask as it is now, with the text so far; any client may, also after a restart.

        Errors: unknown_ticket.
        """
        found = await self._ask_for("poll", ticket=ticket, wait_s=wait_s)
        return AskView.from_wire(found)

    async def relay(self, source: str, target: str, *, note: str | None = None) -> AskView:
        """Asks one session the last reply of another, with an optional note before it.

        Errors: unknown_session, no_reply, and those of `ask`.
        """
        found = await self._ask_for("relay", source=source, target=target, note=note)
        return AskView.from_wire(found)

    async def rewind(self, session: str, to: str) -> SessionView:
        """Moves a session's head back to an earlier message; what came after it stays in the journal.

        Errors: unknown_session, unknown_message, session_busy (an ask is under way).
        """
        found = await self._ask_for("rewind", session=session, to=to)
        return SessionView.from_wire(found)

    async def shutdown(self, *, grace_s: float | None = None) -> ShutdownView:
        """Ends the daemon: no more asks are taken, running ones may end within the grace, the rest are interrupted.

        Returns as soon as that has begun.
        """
        found = await self._ask_for("shutdown", grace_s=grace_s)
        return ShutdownView.from_wire(found)

    async def spawn(
        self, name: str, *, model: str | None = None, system: str | None = None, settings: dict[str, Any] | None = None
    ) -> SessionView:
        """Starts a session: a named, live conversation with one model.

        Errors: invalid_name, name_in_use, unknown_model, model_unavailable, invalid_argument (a setting).
        """
        found = await self._ask_for("spawn", name=name, model=model, system=system, settings=settings)
        return SessionView.from_wire(found)

    async def status(self, *, session: str | None = None) -> StatusView:
        """Returns how the daemon is, what the last one's end interrupted, and how a session and its latest asks are.

        Errors: unknown_session.
        """
        found = await self._ask_for("status", session=session)
        return StatusView.from_wire(found)
