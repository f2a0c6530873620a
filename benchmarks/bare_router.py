"""The least that answers over ZeroMQ: an asyncio ROUTER that sends back what came. Run as a program of its own."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import zmq
import zmq.asyncio


async def serve(endpoint: str) -> None:
    """Echoes until the process is ended."""
    socket = zmq.asyncio.Context.instance().socket(zmq.ROUTER)
    socket.sndhwm = socket.rcvhwm = 0
    socket.bind(endpoint)
    while True:
        await socket.send_multipart(await socket.recv_multipart())


@contextmanager
def asked() -> Iterator[zmq.Socket[Any]]:
    """A bare blocking DEALER that is connected to such a server in another process."""
    from benchmarks.homes import folder, process

    with folder() as path:
        endpoint = f"ipc://{path}/bare"
        with process([sys.executable, __file__, endpoint]), dealer(endpoint) as socket:
            socket.send_multipart([b"hello"])
            socket.recv_multipart()
            yield socket


@contextmanager
def dealer(endpoint: str) -> Iterator[zmq.Socket[Any]]:
    """A bare blocking DEALER that drops nothing and waits for no answer forever."""
    with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        socket.linger = 0
        socket.rcvtimeo = 20_000
        socket.sndhwm = socket.rcvhwm = 0
        socket.connect(endpoint)
        yield socket


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1]))
