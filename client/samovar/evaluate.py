"""Evaluation of Python in the daemon: Jupyter's messages over pyzmq alone, in a kernel subshell of its own.

The messages are those of https://jupyter-client.readthedocs.io/en/stable/messaging.html (protocol 5.4); subshells
are JEP 91. `jupyter_client` would take ten times as long to import as an evaluation takes.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, NamedTuple, Self

import zmq

from .connection import CONNECT_TIMEOUT_S, secure
from .errors import DaemonGone, NoDaemon
from .home import Home
from .wire import HEARTBEAT_TIMEOUT_MS

_DELIMITER = b"<IDS|MSG>"
_LOOK_MS = 500


class Output(NamedTuple):
    """What an evaluation brought forth. `kind`: stdout, stderr, value (its repr), display, error (a traceback)."""

    kind: str
    text: str


class Evaluator:
    """A subshell of the daemon's kernel. All share one namespace; none waits for another's code."""

    def __init__(self, home: Home, *, start: bool = True) -> None:
        self._home = home
        self._info = home.reach(start=start)
        self._key = self._info["key"].encode()
        self._identity = uuid.uuid4().hex
        self._context: zmq.Context[Any] = zmq.Context()
        self._control = self._socket(zmq.DEALER, "control_port")
        self._shell = self._socket(zmq.DEALER, "shell_port")
        self._iopub = self._socket(zmq.SUB, "iopub_port")
        self._iopub.subscribe(b"")
        # The kernel echoes what comes on its heartbeat channel, whatever its interpreter is doing.
        self._heart = self._socket(zmq.DEALER, "hb_port")
        self._beat_at: float | None = None
        try:
            self._await_welcome()
            self._subshell: str | None = self._create_subshell()
        except BaseException:
            self._close_sockets()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the subshell; code that still runs in it runs to its end."""
        if self._subshell:
            self._send(self._control, "delete_subshell_request", {"subshell_id": self._subshell})
            self._subshell = None
        self._close_sockets()

    def _close_sockets(self) -> None:
        for socket in (self._control, self._shell, self._iopub, self._heart):
            socket.close()
        self._context.term()

    def run(self, code: str) -> Iterator[Output]:
        """Evaluates `code` and yields what it brings forth, as it comes. Raises DaemonGone."""
        content = {
            "code": code,
            "silent": False,
            "store_history": False,
            "user_expressions": {},
            "allow_stdin": False,
            "stop_on_error": False,
        }
        request = self._send(self._shell, "execute_request", content, self._subshell)
        while True:
            header, parent, content = self._receive(self._iopub)
            if parent.get("msg_id") != request:
                continue
            if header["msg_type"] == "status" and content["execution_state"] == "idle":
                return
            yield from _outputs(header["msg_type"], content)

    def _create_subshell(self) -> str:
        request = self._send(self._control, "create_subshell_request", {})
        while True:
            _, parent, content = self._receive(self._control)
            if parent.get("msg_id") == request:
                return str(content["subshell_id"])

    def _await_welcome(self) -> None:
        """The kernel greets a subscriber; what is published before that would be missed."""
        if not self._iopub.poll(int(CONNECT_TIMEOUT_S * 1000)):
            raise NoDaemon(
                f"the daemon's kernel did not answer within {CONNECT_TIMEOUT_S:g} s; its keys or the daemon may be out "
                "of order. `samovar restart` makes both anew",
                code="connection_refused",
            )

    def _socket(self, kind: int, port: str) -> zmq.Socket[Any]:
        info = self._info
        socket: zmq.Socket[Any] = self._context.socket(kind)
        socket.linger = 1000
        secure(socket, info)
        separator = ":" if info["transport"] == "tcp" else "-"
        socket.connect(f"{info['transport']}://{info['ip']}{separator}{info[port]}")
        return socket

    def _send(self, socket: zmq.Socket[Any], kind: str, content: dict[str, Any], subshell: str | None = None) -> str:
        message = uuid.uuid4().hex
        header = {
            "msg_id": message,
            "session": self._identity,
            "username": "",
            "date": datetime.now(UTC).isoformat(),
            "msg_type": kind,
            "version": "5.4",
        }
        if subshell:
            header["subshell_id"] = subshell
        parts = [json.dumps(part).encode() for part in (header, {}, {}, content)]
        socket.send_multipart([_DELIMITER, self._sign(parts), *parts])
        return message

    def _sign(self, parts: list[bytes]) -> bytes:
        return hmac.new(self._key, b"".join(parts), hashlib.sha256).hexdigest().encode()

    def _receive(self, socket: zmq.Socket[Any]) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        """Header, parent header and content of the next message that is signed as it should be."""
        while True:
            while not socket.poll(_LOOK_MS):
                self._check_daemon()
            frames = socket.recv_multipart()
            if _DELIMITER not in frames:
                continue
            signature, *parts = frames[frames.index(_DELIMITER) + 1 :][:5]
            if hmac.compare_digest(signature, self._sign(parts)):
                header, parent, _, content = (json.loads(part) for part in parts)
                return header, parent, content

    def _check_daemon(self) -> None:
        if not self._home.up() or (self._home.connection() or {}).get("pid") != self._info["pid"]:
            raise DaemonGone(
                f"the daemon (pid {self._info['pid']}) ended while code was being evaluated; "
                "`samovar logs` says why, `samovar up` starts another"
            )
        self._check_heart()

    def _check_heart(self) -> None:
        if self._heart.poll(0):
            self._heart.recv_multipart()
            self._beat_at = None
        if self._beat_at is None:
            self._heart.send(b"")
            self._beat_at = time.monotonic()
        elif time.monotonic() - self._beat_at > HEARTBEAT_TIMEOUT_MS / 1000:
            raise DaemonGone(
                f"the daemon (pid {self._info['pid']}) has not answered for {HEARTBEAT_TIMEOUT_MS // 1000} s; "
                "it may be stopped. `samovar restart` ends it and starts another"
            )


def _outputs(kind: str, content: dict[str, Any]) -> Iterator[Output]:
    if kind == "stream":
        yield Output(content["name"], content["text"])
    elif kind == "execute_result":
        yield Output("value", content["data"].get("text/plain", ""))
    elif kind == "display_data":
        yield Output("display", content["data"].get("text/plain", ""))
    elif kind == "error":
        yield Output("error", "\n".join(content["traceback"]))
