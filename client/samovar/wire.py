"""The ops socket's frames, and the bookkeeping of calls under way. No I/O happens here.

A request is four frames after ZeroMQ's own envelope: protocol, kind, request id, body (JSON). So is an answer. Many
calls may be under way on one connection; their answers come back in any order.

    -> samovar/1  call    7  {"op": "ask", "args": {"session": "w1", "prompt": "hello"}, "events": true}
    <- samovar/1  event   7  {"type": "delta", "text": "Hel", "offset": 0, ...}
    <- samovar/1  ok      7  {...the result...}       or  error  7  {"code": ..., "message": ..., ...}
    -> samovar/1  cancel  7                           stops a call; its answer is the error `cancelled`
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Sequence
from typing import Any

from .errors import ProtocolMismatch, SamovarError, UsageError
from .version import PROTOCOL

NAME = b"samovar/"
MAGIC = NAME + str(PROTOCOL).encode()

CALL, CANCEL = b"call", b"cancel"
EVENT, OK, ERROR = b"event", b"ok", b"error"

MAX_FRAME_BYTES = 128 * 1024 * 1024
"""Larger frames end the connection (ZMQ_MAXMSGSIZE). A prompt of 16 MiB fits in, however JSON escapes it."""

HEARTBEAT_MS, HEARTBEAT_TIMEOUT_MS = 5_000, 20_000
"""ZMTP heartbeats: a daemon that is stopped or wedged in libzmq is noticed within the second figure."""


class Pending:
    """A call under way: the events that came and were not taken yet, then its answer."""

    def __init__(self, request: bytes, op: str) -> None:
        self.request = request
        self.op = op
        self.events: deque[dict[str, Any]] = deque()
        self.done = False
        self.error: SamovarError | None = None
        self.value: Any = None

    def fail(self, error: SamovarError) -> None:
        """Ends the call with `error`."""
        self.done, self.error = True, error

    def result(self) -> Any:
        """The answer's value. Raises the answer's error."""
        if self.error:
            raise self.error
        return self.value


class Exchange:
    """All calls of one connection."""

    def __init__(self) -> None:
        self._pending: dict[bytes, Pending] = {}
        self._count = 0

    def call(self, op: str, args: dict[str, Any], *, events: bool = False) -> tuple[Pending, list[bytes]]:
        """A new call and the frames to send for it; events come where they are asked for.

        Raises UsageError where `args` can't be sent.
        """
        request: dict[str, Any] = {"op": op, "args": args}
        if events:
            request["events"] = True
        try:
            body = json.dumps(request, ensure_ascii=False, separators=(",", ":")).encode()
        except (TypeError, ValueError) as error:
            raise UsageError(f"the arguments of {op!r} can't be sent as JSON: {error}") from None
        if len(body) > MAX_FRAME_BYTES:
            raise UsageError(
                f"the request has {len(body):,} bytes and the limit is {MAX_FRAME_BYTES:,}; send it in parts"
            )
        self._count += 1
        number = b"%d" % self._count
        pending = self._pending[number] = Pending(number, op)
        return pending, [MAGIC, CALL, number, body]

    def cancel(self, pending: Pending) -> list[bytes]:
        """The frames that ask for a call to be stopped."""
        return [MAGIC, CANCEL, pending.request, b""]

    def forget(self, pending: Pending) -> None:
        """Nobody waits for this call any more."""
        self._pending.pop(pending.request, None)

    def receive(self, frames: Sequence[bytes]) -> Pending | None:
        """Takes what came; returns the call that it belongs to. Raises ProtocolMismatch."""
        if len(frames) != 4 or frames[0] != MAGIC:
            spoken = frames[0][:40].decode("ascii", "replace") if frames else "nothing"
            raise ProtocolMismatch(
                f"the daemon speaks {spoken!r} and this client {MAGIC.decode()!r}; "
                "install the same release of both, then `samovar restart`"
            )
        _, kind, request, body = frames
        pending = self._pending.get(request)
        if pending is None:
            return None
        value = json.loads(body)
        if kind == EVENT:
            pending.events.append(value)
            return pending
        self._pending.pop(request, None)
        pending.done = True
        if kind == OK:
            pending.value = value
        else:
            pending.error = SamovarError.from_wire(value)
        return pending

    def fail_all(self, error: SamovarError) -> list[Pending]:
        """The connection is gone, and with it every call under way."""
        failed = list(self._pending.values())
        self._pending.clear()
        for pending in failed:
            pending.fail(error)
        return failed
