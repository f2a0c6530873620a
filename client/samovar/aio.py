"""The client for asyncio: the same calls as `Client`, awaited."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from types import TracebackType
from typing import Any, Self

import zmq

from .api import AsyncApi
from .connection import CONNECT_TIMEOUT_S, Connection
from .errors import SamovarError
from .home import Home
from .results import AskView
from .wire import Pending


class AsyncClient(AsyncApi):
    """A connection to a daemon, for one event loop; see `samovar.api.AsyncApi` for its methods."""

    def __init__(self, home: str | Home | None = None, *, start: bool = True) -> None:
        self.home = home if isinstance(home, Home) else Home.find(home)
        self._start = start
        self._context: zmq.Context[Any] = zmq.Context()
        self._connection: Connection | None = None
        self._connecting = asyncio.Lock()
        self._moved: dict[Pending, asyncio.Event] = {}
        self._look_again = False
        self._closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Lets go of the connection; calls under way fail."""
        if self._closed:
            return
        self._closed = True
        async with self._connecting:  # A connection in the making sees that it is not wanted any more.
            pass
        if self._connection:
            self._tell(self._connection.exchange.fail_all(SamovarError("the client was closed", code="client_closed")))
            self._drop(self._connection)
        self._context.term()

    def session(self, name: str) -> AsyncSessionHandle:
        """A live session as an object: `await client.session("w1").ask("hello")`."""
        return AsyncSessionHandle(self, name)

    async def call(self, op: str, **args: Any) -> Any:
        """Calls an op by name and returns its result as plain data. Cancelling the caller cancels the call."""
        connection, pending, moved = await self._send(op, args, events=False)
        try:
            while not pending.done:
                moved.clear()
                await moved.wait()
        finally:
            self._leave(connection, pending)
        return pending.result()

    async def stream(self, op: str, **args: Any) -> AsyncGenerator[dict[str, Any], None]:
        """Calls an op; yields its events and, last, `{"type": "result", "value": ...}`. Leaving it early cancels."""
        connection, pending, moved = await self._send(op, args, events=True)
        try:
            while True:
                while pending.events:
                    yield pending.events.popleft()
                if pending.done:
                    yield {"type": "result", "value": pending.result()}
                    return
                moved.clear()
                await moved.wait()
        finally:
            self._leave(connection, pending)

    async def _send(self, op: str, args: dict[str, Any], *, events: bool) -> tuple[Connection, Pending, asyncio.Event]:
        # A connection that will be read again before anything else happens need not be looked at now.
        connection = self._connection if self._look_again and self._connection else await self._connect()
        pending, frames = connection.exchange.call(op, args, events=events)
        self._moved[pending] = moved = asyncio.Event()
        self._put(connection, frames)
        return connection, pending, moved

    def _leave(self, connection: Connection, pending: Pending) -> None:
        """Nobody waits for the call any more; one that has not ended is cancelled."""
        del self._moved[pending]
        if not pending.done and not self._closed:
            self._put(connection, connection.exchange.cancel(pending))
            connection.exchange.forget(pending)

    def _put(self, connection: Connection, frames: list[bytes]) -> None:
        if connection is not self._connection:
            return
        connection.socket.send_multipart(frames, zmq.NOBLOCK)
        # A send may take the edge of the socket's descriptor with it, so look soon what has come.
        if not self._look_again:
            self._look_again = True
            asyncio.get_running_loop().call_soon(self._look)

    def _look(self) -> None:
        self._look_again = False
        if self._connection:
            self._read(self._connection)

    def _read(self, connection: Connection) -> None:
        if connection is not self._connection:
            return
        self._tell(connection.receive_all())
        if connection.gone:
            self._drop(connection)

    def _tell(self, touched: list[Pending]) -> None:
        for pending in touched:
            moved = self._moved.get(pending)
            if moved:
                moved.set()

    async def _connect(self) -> Connection:
        if self._closed:
            raise _closed()
        async with self._connecting:
            if self._connection:
                self._read(self._connection)
            if self._connection is None:
                self._connection = await self._open()
            return self._connection

    async def _open(self) -> Connection:
        deadline = asyncio.get_running_loop().time() + CONNECT_TIMEOUT_S
        connection: Connection | None = None
        while connection is None:
            info = await asyncio.to_thread(self.home.reach, start=self._start)
            connection = await self._connected(info, deadline)
        for fd in connection.fds:
            asyncio.get_running_loop().add_reader(fd, self._read, connection)
        return connection

    async def _connected(self, info: dict[str, Any], deadline: float) -> Connection | None:
        """None where the daemon ended before it took the connection: there may be another by now."""
        connection = Connection(self._context, info)
        loop = asyncio.get_running_loop()
        try:
            while not connection.connected:
                connection.receive_all()
                if self._closed:
                    raise _closed()
                if loop.time() > deadline:
                    raise connection.gone or connection.unanswered(CONNECT_TIMEOUT_S)
                if not connection.connected and not connection.current(self.home):
                    connection.close()
                    return None
                if connection.gone:
                    raise connection.gone
                await asyncio.sleep(0.001)
        except BaseException:
            connection.close()
            raise
        return connection

    def _drop(self, connection: Connection) -> None:
        loop = asyncio.get_running_loop()
        for fd in connection.fds:
            loop.remove_reader(fd)
        connection.close()
        self._connection = None


def _closed() -> SamovarError:
    return SamovarError("the client was closed; make another", code="client_closed")


class AsyncSessionHandle:
    """One session of an `AsyncClient`. It holds no state but the name."""

    def __init__(self, client: AsyncClient, name: str) -> None:
        self._client = client
        self.name = name

    async def ask(self, prompt: str) -> AskView:
        """Asks, and waits for the reply."""
        return await self._client.ask(self.name, prompt)

    async def stream(self, prompt: str) -> AsyncGenerator[str, None]:
        """Asks, and iterates over the reply's text as it comes."""
        told = 0
        async with aclosing(self._client.stream("ask", session=self.name, prompt=prompt)) as events:
            async for event in events:
                if event["type"] == "delta" and event["offset"] == told:
                    told += len(event["text"])
                    yield event["text"]
                elif event["type"] == "result":
                    # Parts that a slow reader missed are made up for from the whole.
                    rest = AskView.from_wire(event["value"]).text[told:]
                    if rest:
                        yield rest

    async def fork(self, new: str, **options: Any) -> AsyncSessionHandle:
        """Forks; `at` and `model` as in `AsyncApi.fork`."""
        await self._client.fork(self.name, new, **options)
        return AsyncSessionHandle(self._client, new)

    async def kill(self) -> None:
        """Ends the session."""
        await self._client.kill([self.name])
