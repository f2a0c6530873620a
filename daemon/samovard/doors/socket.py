"""The ops door: one ROUTER socket on the core's loop.

Keeps three invariants: nothing that arrives stops the loop; a reply reaches the client that asked and no other; a
client that does not read loses its events and never grows the daemon.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

import zmq
from pydantic_core import from_json, to_json

from samovar import wire
from samovard import log
from samovard.core import Core
from samovard.model.errors import Cancelled, Internal, MalformedRequest, ProtocolMismatch, SamovarError, shown
from samovard.ops.all import call

_FRAMES_A_TURN = 100
"""How many frames are read before the loop's other work has its turn."""

_UNSENT_LIMIT = 1000
"""How many answers are kept for a client that does not read, before it is taken for gone."""

_RETRY_S = 0.05
_QUEUE = 10_000


class OpsSocket:
    """Owns the socket. Every method is called on the core's loop."""

    def __init__(self, core: Core, endpoint: str, curve: tuple[bytes, bytes] | None = None) -> None:
        self._core = core
        self._loop = asyncio.get_running_loop()
        self._context: zmq.Context[Any] = zmq.Context()
        self._socket = self._context.socket(zmq.ROUTER)
        self._socket.router_mandatory = True
        self._socket.sndhwm = self._socket.rcvhwm = _QUEUE
        self._socket.maxmsgsize = wire.MAX_FRAME_BYTES
        self._socket.linger = 1000
        if curve:
            self._socket.curve_publickey, self._socket.curve_secretkey = curve
            self._socket.curve_server = True
        self._socket.bind(endpoint)
        self.endpoint = bytes(self._socket.getsockopt(zmq.LAST_ENDPOINT)).decode().rstrip("\0")
        self._calls: dict[tuple[bytes, bytes], asyncio.Task[None]] = {}
        self._unsent: dict[bytes, list[list[bytes]]] = {}
        self._reading = False
        self._refused = 0
        self._refused_at = 0.0
        self._descriptor = int(self._socket.getsockopt(zmq.FD))
        self._loop.add_reader(self._descriptor, self._read)
        self._read_soon()

    async def close(self, timeout_s: float = 2.0) -> None:
        """Lets the calls under way answer, then closes."""
        if self._calls:
            await asyncio.wait(list(self._calls.values()), timeout=timeout_s)
        self._loop.remove_reader(self._descriptor)
        for task in list(self._calls.values()):
            task.cancel()
        self._socket.close()
        await asyncio.to_thread(self._context.term)

    # Reading

    def _read_soon(self) -> None:
        """The socket's descriptor tells of new frames once; after a send, or a full turn, they must be looked for."""
        if not self._reading:
            self._reading = True
            self._loop.call_soon(self._read)

    def _read(self) -> None:
        self._reading = False
        if self._socket.closed:
            return
        for _ in range(_FRAMES_A_TURN):
            try:
                client, *frames = self._socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            self._take(client, frames)
        self._read_soon()

    def _take(self, client: bytes, frames: list[bytes]) -> None:
        try:
            kind, request, body = _checked(frames)
            if kind == wire.CANCEL:
                task = self._calls.get((client, request))
                if task:
                    task.cancel()
            else:
                self._begin(client, request, body)
        except SamovarError as error:
            self._refuse(client, frames, error)

    def _begin(self, client: bytes, request: bytes, body: bytes) -> None:
        key = (client, request)
        if key in self._calls:
            raise MalformedRequest(f"request id {request[:40]!r} is under way already; give each request its own")
        op, args, events = _parsed(body)
        task = self._loop.create_task(self._answer(client, request, op, args, events))
        self._calls[key] = task
        task.add_done_callback(lambda ended: self._ended(client, request, op, ended))

    def _refuse(self, client: bytes, frames: list[bytes], error: SamovarError) -> None:
        """Answers frames that are no request, and logs them, a line a second at most."""
        self._refused += 1
        if time.monotonic() - self._refused_at >= 1:
            log.warning("socket/refused", count=self._refused, code=error.code, reason=error.message)
            self._refused, self._refused_at = 0, time.monotonic()
        request = frames[2] if len(frames) > 2 and len(frames[2]) <= 255 else b""
        self._send(client, [wire.MAGIC, wire.ERROR, request, to_json(error.as_dict())])

    # Answering

    async def _answer(self, client: bytes, request: bytes, op: str, args: dict[str, Any], events: bool) -> None:
        def tell(event: dict[str, Any]) -> None:
            self._send(client, [wire.MAGIC, wire.EVENT, request, to_json(event)], droppable=True)

        try:
            kind, body = wire.OK, to_json(await call(self._core, op, args, tell if events else None))
        except SamovarError as error:
            kind, body = wire.ERROR, to_json(error.as_dict(), fallback=str)
        except ValueError as error:
            # `call` raises none: this is an answer that JSON can't hold.
            log.error("socket/answer-refused", op=op, exception=error)
            kind, body = wire.ERROR, to_json(Internal(f"the answer of {shown(op)} can't be sent: {error}").as_dict())
        except asyncio.CancelledError:
            # Only a `cancel` frame, or the door's closing, cancels a call: nobody above waits for this task.
            kind, body = wire.ERROR, _cancelled(op)
        self._calls.pop((client, request), None)  # Before the answer: whoever has it may use the id again.
        self._send(client, [wire.MAGIC, kind, request, body])

    def _ended(self, client: bytes, request: bytes, op: str, task: asyncio.Task[None]) -> None:
        """A call that was cancelled before its task's first step could not answer for itself."""
        if task.cancelled():
            self._calls.pop((client, request), None)
            self._send(client, [wire.MAGIC, wire.ERROR, request, _cancelled(op)])

    def _send(self, client: bytes, frames: list[bytes], *, droppable: bool = False) -> None:
        if self._socket.closed:
            return
        waiting = self._unsent.get(client)
        if waiting is None and self._try_send(client, frames):
            return
        if droppable:
            return
        if waiting is None:
            waiting = self._unsent[client] = []
            self._loop.call_later(_RETRY_S, self._retry, client)
        if len(waiting) < _UNSENT_LIMIT:
            waiting.append(frames)

    def _try_send(self, client: bytes, frames: list[bytes]) -> bool:
        """False where the client's queue is full; a client that is gone counts as served."""
        self._read_soon()  # Whatever comes of the send: it may have taken the descriptor's edge with it.
        try:
            self._socket.send_multipart([client, *frames], zmq.NOBLOCK)
        except zmq.Again:
            return False
        except zmq.ZMQError as error:
            if error.errno != zmq.EHOSTUNREACH:
                log.error("socket/send-failed", reason=str(error))
        return True

    def _retry(self, client: bytes) -> None:
        waiting = self._unsent.pop(client, [])
        while waiting and not self._socket.closed and self._try_send(client, waiting[0]):
            waiting.pop(0)
        if waiting and not self._socket.closed:
            self._unsent[client] = waiting
            self._loop.call_later(_RETRY_S, self._retry, client)


def _cancelled(op: str) -> bytes:
    return to_json(Cancelled(f"the call of {shown(op)} was cancelled").as_dict())


def _checked(frames: list[bytes]) -> tuple[bytes, bytes, bytes]:
    """Kind, request id and body. Raises ProtocolMismatch and MalformedRequest."""
    if frames and frames[0] != wire.MAGIC and frames[0].startswith(wire.NAME):
        spoken = frames[0][:40].decode("ascii", "replace")
        raise ProtocolMismatch(
            f"the client speaks {spoken!r} and this daemon {wire.MAGIC.decode()!r}; "
            "install the same release of both, then `samovar restart`"
        )
    if len(frames) != 4 or frames[0] != wire.MAGIC:
        raise MalformedRequest(
            f"{len(frames)} frame(s) that are no request of ours; send {wire.MAGIC.decode()}, kind, request id, body"
        )
    _, kind, request, body = frames
    if kind not in (wire.CALL, wire.CANCEL) or not 0 < len(request) <= 255:
        raise MalformedRequest(f"kind {kind[:40]!r} with a request id of {len(request)} bytes is no request of ours")
    return kind, request, body


def _parsed(body: bytes) -> tuple[str, dict[str, Any], bool]:
    """The op, its arguments, and whether events are wanted."""
    try:
        value = from_json(body)
    except ValueError as error:
        raise MalformedRequest(f"the request's body is no JSON ({error})") from None
    if not isinstance(value, dict) or not isinstance(value.get("op"), str) or set(value) - {"op", "args", "events"}:
        raise MalformedRequest('the request\'s body is to be {"op": NAME, "args": {...}, "events": BOOLEAN}')
    args, events = value.get("args", {}), value.get("events", False)
    if not isinstance(events, bool):
        raise MalformedRequest(f"`events` is to be true or false, not {shown(events)}")
    if not isinstance(args, dict):
        raise MalformedRequest(f"the arguments of {value['op'][:40]!r} are to be an object, not {args!r:.40}")
    return value["op"], args, events
