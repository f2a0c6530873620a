"""The blocking client: thread-safe, many calls under way on one connection.

No thread of its own: of the threads that wait, one reads the socket for all. The others sleep until their call has
moved or the reading falls to them.
"""

from __future__ import annotations

import os
import select
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import closing, suppress
from types import TracebackType
from typing import Any, Self

import zmq

from .api import Api
from .connection import CONNECT_TIMEOUT_S, Connection
from .errors import SamovarError
from .home import Home
from .results import AskView, SessionView
from .wire import Pending

CANCEL_TIMEOUT_S = 2.0


class Client(Api):
    """A connection to a daemon, with one method per op: see `samovar.api.Api`.

    It connects at the first call, and again after the daemon was restarted. `start=False` never starts a daemon.
    """

    def __init__(self, home: str | Home | None = None, *, start: bool = True) -> None:
        self.home = home if isinstance(home, Home) else Home.find(home)
        self._start = start
        self._context: zmq.Context[Any] = zmq.Context()
        self._connection: Connection | None = None
        self._lock = threading.Lock()
        self._moved = threading.Condition(self._lock)
        self._reading = False
        self._wake_in, self._wake_out = os.pipe()
        os.set_blocking(self._wake_out, False)
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Lets go of the connection; calls under way elsewhere fail."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            if self._connection:
                self._connection.exchange.fail_all(SamovarError("the client was closed", code="client_closed"))
            self._moved.notify_all()
            if self._connection:
                self._retire(self._connection)
            os.close(self._wake_in)
            os.close(self._wake_out)
        self._context.term()

    def session(self, name: str) -> SessionHandle:
        """A live session as an object: `client.session("w1").ask("hello")`."""
        return SessionHandle(self, name)

    def call(self, op: str, **args: Any) -> Any:
        """Calls an op by name and returns its result as plain data."""
        return self._finish(self._send(op, args))

    def stream(self, op: str, **args: Any) -> Generator[dict[str, Any], None, None]:
        """Calls an op; yields its events and, last, `{"type": "result", "value": ...}`. Leaving it early cancels."""
        pending = self._send(op, args, events=True)
        try:
            while True:
                while pending.events:
                    yield pending.events.popleft()
                if pending.done:
                    yield {"type": "result", "value": pending.result()}
                    return
                self._wait(pending)
        finally:
            self._abandon(pending)

    def _finish(self, pending: Pending) -> Any:
        try:
            while not pending.done:
                self._wait(pending)
                pending.events.clear()
        finally:
            self._abandon(pending)
        return pending.result()

    def _send(self, op: str, args: dict[str, Any], *, events: bool = False) -> Pending:
        with self._lock:
            connection = self._connect()
            pending, frames = connection.exchange.call(op, args, events=events)
            connection.socket.send_multipart(frames, zmq.NOBLOCK)
            # A send may take the edge of the socket's descriptor with it, so look at once what has come.
            self._receive(connection)
            self._wake()
        return pending

    def _abandon(self, pending: Pending) -> None:
        """Cancels a call that nobody waits for any more, and waits a moment until the daemon has heard it."""
        if pending.done:
            return
        with self._lock:
            connection = self._connection
            if connection is None or self._closed:
                return
            connection.socket.send_multipart(connection.exchange.cancel(pending), zmq.NOBLOCK)
            self._wake()
        deadline = time.monotonic() + CANCEL_TIMEOUT_S
        while not pending.done and time.monotonic() < deadline:
            pending.events.clear()
            self._wait(pending)
        connection.exchange.forget(pending)

    def _connect(self) -> Connection:
        """The connection, made anew where the daemon of the last one is gone; the lock is held."""
        while self._connection and not self._closed:
            self._receive(self._connection)
            if not self._connection.gone:
                return self._connection
            # It lets go of the lock meanwhile, so another thread may have connected when it returns.
            self._retire(self._connection)
        if self._closed:
            raise SamovarError("the client was closed; make another with samovar.connect()", code="client_closed")
        deadline = time.monotonic() + CONNECT_TIMEOUT_S
        while self._connection is None:
            connection = Connection(self._context, self.home.reach(start=self._start))
            try:
                if self._await_handshake(connection, deadline):
                    self._connection = connection
            finally:
                if self._connection is None:
                    connection.close()
        return self._connection

    def _retire(self, connection: Connection) -> None:
        """Closes a connection once no thread reads it; the lock is held."""
        self._connection = None
        while self._reading:
            self._wake()
            self._moved.wait(0.05)
        connection.close()

    def _await_handshake(self, connection: Connection, deadline: float) -> bool:
        """False where the daemon ended before it took the connection: there may be another by now."""
        while not connection.connected:
            connection.receive_all()
            if not connection.connected:
                waited_in_vain = not _readable(connection.fds, 0.05)
                if time.monotonic() > deadline:
                    raise connection.gone or connection.unanswered(CONNECT_TIMEOUT_S)
                if (waited_in_vain or connection.gone) and not connection.current(self.home):
                    return False
            if connection.gone:
                raise connection.gone
        return True

    def _receive(self, connection: Connection) -> None:
        if connection.receive_all():
            self._moved.notify_all()

    def _wait(self, pending: Pending) -> None:
        """Returns when something may have come for `pending`."""
        with self._lock:
            if pending.done or pending.events:
                return
            if self._reading:
                self._moved.wait()
                return
            connection = self._connection
            if connection is None or self._closed:
                return
            self._reading = True
        try:
            self._read_one_round(connection)
        finally:
            with self._lock:
                self._reading = False
                self._moved.notify_all()

    def _read_one_round(self, connection: Connection) -> None:
        with self._lock:
            if connection.receive_all():
                return
        if self._wake_in in _readable((*connection.fds, self._wake_in), 1.0):
            os.read(self._wake_in, 4096)
        with self._lock:
            connection.receive_all()

    def _wake(self) -> None:
        """Makes the thread that reads look again."""
        if self._reading:
            with suppress(BlockingIOError):  # The pipe is full of wake-ups already.
                os.write(self._wake_out, b".")


def _readable(fds: tuple[int, ...], timeout_s: float) -> list[int]:
    poll = select.poll()
    for fd in fds:
        poll.register(fd, select.POLLIN)
    return [fd for fd, _ in poll.poll(timeout_s * 1000)]


class SessionHandle:
    """One session of a client. It holds no state but the name."""

    def __init__(self, client: Client, name: str) -> None:
        self._client = client
        self.name = name

    def __repr__(self) -> str:
        return f"<samovar session {self.name!r}>"

    def ask(self, prompt: str) -> AskView:
        """Asks, and waits for the reply."""
        return self._client.ask(self.name, prompt)

    def ask_async(self, prompt: str) -> AskView:
        """Asks, and returns the ticket at once."""
        return self._client.ask_async(self.name, prompt)

    def stream(self, prompt: str) -> TextStream:
        """Asks, and iterates over the reply's text as it comes."""
        return TextStream(self._client.stream("ask", session=self.name, prompt=prompt))

    def fork(self, new: str, **options: Any) -> SessionHandle:
        """Forks; `at` and `model` as in `Api.fork`."""
        self._client.fork(self.name, new, **options)
        return SessionHandle(self._client, new)

    def status(self) -> SessionView:
        """The session as it is now."""
        found = self._client.status(session=self.name).session
        assert found is not None
        return found

    def kill(self) -> None:
        """Ends the session."""
        self._client.kill([self.name])


class TextStream:
    """An iterator over a reply's text, in parts. After the last part `reply` has the whole ask."""

    def __init__(self, events: Generator[dict[str, Any], None, None]) -> None:
        self._events = events
        self.reply: AskView | None = None

    def __iter__(self) -> Iterator[str]:
        told = 0
        with closing(self._events) as events:
            for event in events:
                if event["type"] == "delta" and event["offset"] == told:
                    told += len(event["text"])
                    yield event["text"]
                elif event["type"] == "result":
                    self.reply = AskView.from_wire(event["value"])
                    # Parts that a slow reader missed are made up for from the whole.
                    if self.reply.text[told:]:
                        yield self.reply.text[told:]
