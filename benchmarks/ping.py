"""The round trip of an op that does nothing, and how many a second one connection carries.

Ours is `Client.ping()` as a script would call it: JSON there and back, arguments validated, a typed result, a watch on
the connection. Beside it is the least that ZeroMQ and asyncio can do: a ROUTER that echoes what came, asked by a bare
DEALER that neither makes nor reads JSON. That flatters the other side: whatever a user would write in its place does
more. Both servers are processes of their own, both clients block in this one, frames and their sizes are the same.

Pipelined: all requests are sent before an answer is read. Once through `samovar.wire.Exchange` on a raw DEALER, which
shows the daemon; once through `AsyncClient`, which is what a program uses.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import zmq

from benchmarks.bare_router import asked, dealer
from benchmarks.figure import Figure
from benchmarks.homes import client_of_new_daemon
from benchmarks.stopwatch import percentile, repeated, seconds, turn_by_turn
from samovar import AsyncClient, Client, Home
from samovar.wire import Exchange

_FRAMES = Exchange().call("ping", {})[1]


def figures(quick: bool) -> list[Figure]:
    """Round trip and throughput."""
    with client_of_new_daemon() as client, asked() as bare:
        return [_round_trip(client, bare, quick), *_pipelined(client, bare, quick)]


def _round_trip(client: Client, bare: zmq.Socket[Any], quick: bool) -> Figure:
    count = 50 if quick else 500

    def bare_ping() -> None:
        bare.send_multipart(_FRAMES)
        bare.recv_multipart()

    ours, beside = turn_by_turn(
        2 if quick else 10,
        lambda: percentile(repeated(client.ping, count), 50),
        lambda: percentile(repeated(bare_ping, count), 50),
    )
    return Figure("ping, p50", ours, "ms", beside, "bare ROUTER", 2)


def _pipelined(client: Client, bare: zmq.Socket[Any], quick: bool) -> list[Figure]:
    count = 100 if quick else 5000
    with dealer(client.home.reach(start=False)["ops"]) as raw:
        ours, beside, whole = turn_by_turn(
            2 if quick else 7,
            lambda: count / seconds(partial(_through_exchange, raw, count)),
            lambda: count / seconds(partial(_echoed, bare, count)),
            lambda: asyncio.run(_through_async_client(client.home, count)),
        )
    return [
        Figure("pings pipelined on one connection", ours, "/s", beside, "bare ROUTER", 0.5, at_least=True),
        Figure("pings pipelined through AsyncClient", whole, "/s", beside, "bare ROUTER", 0.5, at_least=True),
    ]


def _through_exchange(raw: zmq.Socket[Any], count: int) -> None:
    exchange = Exchange()
    for _ in range(count):
        raw.send_multipart(exchange.call("ping", {})[1])
    for _ in range(count):
        answered = exchange.receive(raw.recv_multipart())
        assert answered
        answered.result()


def _echoed(bare: zmq.Socket[Any], count: int) -> None:
    for _ in range(count):
        bare.send_multipart(_FRAMES)
    for _ in range(count):
        bare.recv_multipart()


async def _through_async_client(home: Home, count: int) -> float:
    loop = asyncio.get_running_loop()
    async with AsyncClient(home, start=False) as client:
        await client.ping()
        began = loop.time()
        await asyncio.gather(*(client.ping() for _ in range(count)))
        return count / (loop.time() - began)
