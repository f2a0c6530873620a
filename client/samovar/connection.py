"""A DEALER socket to one daemon, and what happens to it: connected, refused, gone. Shared by both clients."""

from __future__ import annotations

import sys
from typing import Any

import zmq

from . import wire
from .errors import DaemonGone, NoDaemon, ProtocolMismatch
from .home import Home

CONNECT_TIMEOUT_S = 10.0

_WATCHED = (
    zmq.EVENT_HANDSHAKE_SUCCEEDED
    | zmq.EVENT_DISCONNECTED
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
)


class Connection:
    """One socket and its monitor. Not thread-safe: `Client` guards it with a lock, `AsyncClient` with its loop."""

    def __init__(self, context: zmq.Context[Any], info: dict[str, Any]) -> None:
        self.info = info
        self.exchange = wire.Exchange()
        self.connected = False
        self.gone: DaemonGone | NoDaemon | ProtocolMismatch | None = None
        self.socket = context.socket(zmq.DEALER)
        self.socket.linger = 0
        self.socket.sndhwm = self.socket.rcvhwm = 0
        self.socket.heartbeat_ivl = wire.HEARTBEAT_MS
        self.socket.heartbeat_timeout = wire.HEARTBEAT_TIMEOUT_MS
        try:
            secure(self.socket, info)
        except NoDaemon:
            self.socket.close()
            raise
        self._monitor = self.socket.get_monitor_socket(_WATCHED)
        self.socket.connect(info["ops"])
        self.fds = (int(self.socket.fd), int(self._monitor.fd))

    def close(self) -> None:
        """Lets go of the socket."""
        self.socket.disable_monitor()
        self._monitor.close()
        self.socket.close()

    def current(self, home: Home) -> bool:
        """Whether the home's daemon is still the one that this connection was made for."""
        return (home.connection() or {}).get("pid") == self.info.get("pid")

    def receive_all(self) -> list[wire.Pending]:
        """Takes whatever has come, without waiting; returns the calls that it was for."""
        touched = self._receive()
        self._watch()
        if self.gone:
            # What came between the last look and the connection's end is an answer all the same.
            touched += self._receive()
            touched += self.exchange.fail_all(self.gone)
        return touched

    def _receive(self) -> list[wire.Pending]:
        touched = []
        while True:
            try:
                frames = self.socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                break
            try:
                pending = self.exchange.receive(frames)
            except ProtocolMismatch as error:
                self.gone = error
                break
            if pending:
                touched.append(pending)
        return touched

    def _watch(self) -> None:
        while self._monitor.poll(0):
            # zmq.utils.monitor would read this for us, and import asyncio: as long as all the rest of a command.
            event = int.from_bytes(self._monitor.recv_multipart(zmq.NOBLOCK)[0][:2], sys.byteorder)
            if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
                self.connected = True
            elif event == zmq.EVENT_DISCONNECTED and self.connected:
                self.gone = DaemonGone(
                    f"the daemon (pid {self.info.get('pid')}) ended or stopped answering with a request under way; "
                    "what it had acknowledged is kept, and `samovar status` says what was interrupted"
                )
            else:
                self.gone = NoDaemon(
                    f"the daemon at {self.info['ops']} refused the connection; the keys in its connection file are not "
                    "the ones that it was started with. `samovar restart` makes new ones",
                    code="connection_refused",
                )

    def unanswered(self, waited_s: float) -> NoDaemon:
        """The error for a daemon that never took the connection."""
        return NoDaemon(
            f"the daemon (pid {self.info.get('pid')}) did not take a connection at {self.info['ops']} within "
            f"{waited_s:g} s; it may hang. `samovar restart` ends it and starts another"
        )


def secure(socket: zmq.Socket[Any], info: dict[str, Any]) -> None:
    """Turns CurveZMQ on where the connection file has keys: the server's public key lets us in, ours are new."""
    key = info.get("curve_publickey")
    if key is None:
        return
    socket.curve_publickey, socket.curve_secretkey = zmq.curve_keypair()
    try:
        socket.curve_serverkey = str(key).encode()
    except (zmq.ZMQError, ValueError):
        raise NoDaemon(
            f"the connection file's curve_publickey is no key ({key!r:.60}); `samovar restart` makes new ones",
            code="connection_refused",
        ) from None
