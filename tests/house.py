"""A house of real parts for tests: a journal on disk, a core on a loop in a thread of its own, the ops door.

`Ops` has two ways in, with one face: straight into the registry, or through the door with a real client. A test that
takes the fixture `ops` runs over both. Whatever is waited for here is waited for with a bound.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import queue
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Protocol, TypeVar

import pytest
import zmq
from pydantic_core import to_jsonable_python

from samovar import AsyncClient, Client, DaemonGone
from samovar.home import Home
from samovar.version import PROTOCOL
from samovard.backends.reader import ReaderBackend
from samovard.core import BackendLoader, Core, Daemon, Models
from samovard.doors.socket import OpsSocket
from samovard.journal import open_journal
from samovard.ops.all import call
from samovard.testing.fake import FakeBackend

WAIT_S = 30.0
"""How long anything here is waited for. A bound against hanging, not a measure of anything."""

LOADERS: dict[str, BackendLoader] = {"fake": FakeBackend, "reader": ReaderBackend}

Found = TypeVar("Found")


def eventually(condition: Callable[[], Found], what: str, within_s: float = WAIT_S) -> Found:
    """The first true value of `condition`. Fails, saying `what` did not come, where there is none in time."""
    deadline = time.monotonic() + within_s
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not within {within_s:g} s: {what}"
        time.sleep(0.002)
    return found


def in_background(function: Callable[..., Found], *args: Any, **named: Any) -> Future[Found]:
    """What `function` will return, in a thread of its own: one that hangs for ever keeps neither us nor the run."""
    future: Future[Found] = Future()

    def work() -> None:
        try:
            future.set_result(function(*args, **named))
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=work, daemon=True).start()
    return future


class House:
    """Everything of a daemon but its process: `core` and, once `open_door` was called, `door`."""

    def __init__(self, folder: Path, loaders: dict[str, BackendLoader] | None = None) -> None:
        self.folder = folder
        self.loaders = LOADERS if loaders is None else loaders
        self.shutdowns: list[float] = []
        """The graces of every shutdown that was asked for."""
        self.door: OpsSocket | None = None
        self._curve: tuple[bytes, bytes] | None = None
        self.sockets = tempfile.mkdtemp(prefix="sv-")  # A socket's path has 107 bytes, and tmp_path takes most of them.
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="house", daemon=True)
        self._thread.start()
        self.run(self._open())

    def run(self, work: Coroutine[Any, Any, Found]) -> Found:
        """What `work` returns, run on the core's loop."""
        return self.begin(work).result(WAIT_S)

    def begin(self, work: Coroutine[Any, Any, Found]) -> Future[Found]:
        """The same, in the background."""
        return asyncio.run_coroutine_threadsafe(work, self.loop)

    def do(self, function: Callable[..., Found], *args: Any) -> Found:
        """What `function` returns, called on the core's loop."""

        async def work() -> Found:
            return function(*args)

        return self.run(work())

    async def _open(self) -> None:
        self.journal, interrupted = await open_journal(self.folder)
        daemon = Daemon(str(self.folder), os.getpid(), time.time(), 10.0, self.shutdowns.append)
        self.core = Core(self.journal, Models(self.loaders, "fake"), daemon=daemon, interrupted=interrupted)

    def open_door(self, curve: tuple[bytes, bytes] | None = None) -> None:
        """Lets clients in; with keys, public and secret, only those that know the public one."""
        self._curve = curve

        async def work() -> OpsSocket:
            return OpsSocket(self.core, f"ipc://{self.sockets}/ops", curve)

        self.door = self.run(work())

    def slam_door(self) -> None:
        """Closes the door with whatever is under way behind it, as a process that dies does."""
        if self.door:
            door, self.door = self.door, None
            self.run(door.close(timeout_s=0))

    def home(self) -> Home:
        """Leads a client to the door; a client that finds it shut starts nothing."""
        keys = {"curve_publickey": self._curve[0].decode()} if self._curve else {}
        return At({"ops": f"ipc://{self.sockets}/ops", "pid": os.getpid(), "protocol": PROTOCOL, **keys})

    def client(self) -> Client:
        """A client of the door."""
        return Client(self.home())

    def down(self) -> None:
        """Ends door and core the orderly way, at once."""

        async def work() -> None:
            await self.core.drain(0)
            if self.door:
                await self.door.close(timeout_s=1)
            await self.core.close()

        self.run(work())
        self.door = None

    def restart(self) -> None:
        """Ends the core and opens it again on the same journal; so with the door, if there was one."""
        door = self.door is not None
        self.down()
        self.run(self._open())
        if door:
            self.open_door(self._curve)

    def end(self) -> None:
        """Lets go of everything; the loop is stopped even where the rest fails."""
        try:
            self.down()
        finally:
            self.run(_sweep())
            self.loop.call_soon_threadsafe(self.loop.stop)
            self._thread.join(WAIT_S)
            self.loop.close()
            shutil.rmtree(self.sockets, ignore_errors=True)

    @contextlib.contextmanager
    def writer_held(self) -> Iterator[Callable[[], int]]:
        """Keeps the journal from writing; gives how many writes wait. All of them then go into one commit."""
        held, go = threading.Event(), threading.Event()

        def block(_connection: Any) -> None:
            held.set()
            go.wait(WAIT_S)

        writer = self.journal._writer
        self.do(writer.submit, block)
        assert held.wait(WAIT_S)
        try:
            yield writer._jobs.qsize
        finally:
            go.set()

    @contextlib.contextmanager
    def first_read_held(self, method: str) -> Iterator[threading.Event]:
        """Keeps back the result of the next call of a reading method of the journal; gives its having been read."""
        read, go = threading.Event(), asyncio.Event()
        real = getattr(self.journal, method)

        async def slow(*args: Any) -> Any:
            setattr(self.journal, method, real)
            found = await real(*args)
            read.set()
            await go.wait()
            return found

        setattr(self.journal, method, slow)
        try:
            yield read
        finally:
            setattr(self.journal, method, real)
            self.loop.call_soon_threadsafe(go.set)


async def _sweep() -> None:
    """Ends what a failed test left on the loop."""
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    if left:
        await asyncio.wait(left, timeout=WAIT_S / 2)


class At(Home):
    """A home whose daemon is reached by `info` and never started."""

    def __init__(self, info: dict[str, Any]) -> None:
        super().__init__(tempfile.gettempdir())
        self.info = info

    def connection(self) -> dict[str, Any]:
        return self.info

    def reach(self, *, start: bool = True, timeout_s: float = WAIT_S) -> dict[str, Any]:
        return self.info

    def connection(self) -> dict[str, Any]:
        return self.info


@contextlib.contextmanager
def speaking(*magic: bytes) -> Iterator[At]:
    """A daemon of another version: it answers every request, in the frames that are given."""
    folder = tempfile.mkdtemp(prefix="sv-")
    context: zmq.Context[Any] = zmq.Context()
    router = context.socket(zmq.ROUTER)
    router.bind(f"ipc://{folder}/ops")

    def answer() -> None:
        with router:
            while True:
                client, *frames = router.recv_multipart()
                if frames == [b"end"]:
                    return
                router.send_multipart([client, *magic, *frames[1:]])

    thread = threading.Thread(target=answer)
    thread.start()
    try:
        yield At({"ops": f"ipc://{folder}/ops", "pid": 1})
    finally:
        with context.socket(zmq.DEALER) as last:
            last.connect(f"ipc://{folder}/ops")
            last.send(b"end")
            thread.join(WAIT_S)
        context.term()
        shutil.rmtree(folder)


class Ops(Protocol):
    """One way to the ops of `house`. Errors have a `code`, a `message` and `data`; results are plain data."""

    house: House

    def call(self, op: str, **args: Any) -> Any:
        """The result of an op."""
        ...

    def begin(self, op: str, **args: Any) -> Future[Any]:
        """The same, in the background."""
        ...

    def task(self, op: str, **args: Any) -> Future[Any]:
        """The same; to cancel the future is to leave the call."""
        ...

    def stream(self, op: str, **args: Any) -> Iterator[dict[str, Any]]:
        """Events, then `{"type": "result", "value": ...}`. Closing it early cancels the call."""
        ...

    def restart(self) -> None:
        """Ends the house's daemon and brings up another; returns once that answers."""
        ...


class InMemory:
    """Straight into the registry."""

    def __init__(self, house: House) -> None:
        self.house = house

    def call(self, op: str, **args: Any) -> Any:
        return self.begin(op, **args).result(WAIT_S)

    def begin(self, op: str, **args: Any) -> Future[Any]:
        return asyncio.run_coroutine_threadsafe(self._plain(op, args, None), self.house.loop)

    task = begin

    def stream(self, op: str, **args: Any) -> Iterator[dict[str, Any]]:
        events: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        future = asyncio.run_coroutine_threadsafe(self._plain(op, args, events.put), self.house.loop)
        future.add_done_callback(lambda _: events.put(None))
        try:
            while (event := events.get(timeout=WAIT_S)) is not None:
                yield event
            yield {"type": "result", "value": future.result()}
        finally:
            future.cancel()

    def restart(self) -> None:
        self.house.restart()

    async def _plain(self, op: str, args: dict[str, Any], listener: Any) -> Any:
        return to_jsonable_python(await call(self.house.core, op, args, listener))


class OverTheSocket:
    """Through the door, by the client that everybody uses."""

    def __init__(self, house: House, client: Client) -> None:
        self.house = house
        self.client = client
        self.stream = client.stream
        self._leaver: AsyncClient | None = None

    def call(self, op: str, **args: Any) -> Any:
        return self.begin(op, **args).result(WAIT_S)

    def begin(self, op: str, **args: Any) -> Future[Any]:
        return in_background(self.client.call, op, **args)

    def task(self, op: str, **args: Any) -> Future[Any]:
        if self._leaver is None:
            self._leaver = AsyncClient(self.house.home())
        return self.house.begin(self._leaver.call(op, **args))

    def restart(self) -> None:
        self.house.restart()
        eventually(self._answers, "the new daemon answers")

    def end(self) -> None:
        """Lets go of the clients."""
        in_background(self.client.close).result(WAIT_S)
        if self._leaver:
            self.house.run(self._leaver.close())

    def _answers(self) -> bool:
        """A client learns that its daemon is gone a moment after it is, and then connects to the next."""
        try:
            return bool(self.call("ping"))
        except DaemonGone:
            return False


def everything(ops: Ops) -> Any:
    """All that callers can see of the sessions."""
    views = ops.call("list")
    return views, {view["name"]: ops.call("history", session=view["name"]) for view in views}


def refused(ops: Ops, code: str, op: str, **args: Any) -> Any:
    """The error of a call that must fail with `code` and change nothing."""
    before = everything(ops)
    with pytest.raises(Exception, check=lambda error: hasattr(error, "code")) as caught:
        ops.call(op, **args)
    assert caught.value.code == code, caught.value
    assert everything(ops) == before
    return caught.value


def said(ops: Ops, session: str) -> list[tuple[str, str]]:
    """The session's history as (role, text)."""
    return [(message["role"], message["content"]) for message in ops.call("history", session=session)["messages"]]


def state_of(ops: Ops, ticket: str) -> str:
    return str(ops.call("poll", ticket=ticket)["state"])


def ended(ops: Ops, ticket: str) -> Any:
    """The ask, once it has ended."""
    view = ops.call("poll", ticket=ticket, wait_s=WAIT_S)
    assert view["state"] not in ("queued", "running"), view
    return view


def hanging(ops: Ops, session: str) -> str:
    """The ticket of an ask that runs in a session on `fake/hang` and never ends by itself."""
    ticket = str(ops.call("ask-async", session=session, prompt="hang")["ask"])
    eventually(lambda: state_of(ops, ticket) == "running", f"{ticket} runs")
    return ticket


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """A core on an empty journal; its door is shut until `open_door`."""
    found = House(tmp_path)
    try:
        yield found
    finally:
        found.end()


@contextlib.contextmanager
def over_the_socket(house: House) -> Iterator[OverTheSocket]:
    """Opens the house's door and goes through it."""
    house.open_door()
    found = OverTheSocket(house, house.client())
    try:
        yield found
    finally:
        found.end()


@pytest.fixture(params=["in memory", "over the socket"])
def ops(request: pytest.FixtureRequest, house: House) -> Iterator[Ops]:
    """The ops of a house, each way in."""
    if request.param == "in memory":
        yield InMemory(house)
        return
    with over_the_socket(house) as found:
        yield found
