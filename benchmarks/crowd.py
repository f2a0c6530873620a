"""A thousand asks at once, each of which takes one second in the backend, in a thousand sessions.

One `AsyncClient` on one connection asks them all; the time is from the first call to the last typed reply, every one of
them on disk. Beside it are a thousand `asyncio.sleep(1)` in this process: what waiting alone costs.
"""

from __future__ import annotations

import asyncio

from benchmarks.figure import Figure
from benchmarks.homes import client_of_new_daemon
from benchmarks.stopwatch import turn_by_turn
from samovar import AsyncClient, Home


def figures(quick: bool) -> list[Figure]:
    """All of them, in s."""
    count = 50 if quick else 1000
    with client_of_new_daemon() as client:
        asyncio.run(_spawn(client.home, count))
        ours, beside = turn_by_turn(
            1 if quick else 5,
            lambda: asyncio.run(_ask_all(client.home, count)),
            lambda: asyncio.run(_sleep_all(count)),
        )
    return [Figure(f"{count:,} asks of 1 s at once", ours, "s", beside, "as many asyncio.sleep(1)", 1.5, "ours")]


async def _spawn(home: Home, count: int) -> None:
    async with AsyncClient(home, start=False) as client:
        await asyncio.gather(*(client.spawn(f"s{number}", model="bench/sleep:1.0") for number in range(count)))


async def _ask_all(home: Home, count: int) -> float:
    async with AsyncClient(home, start=False) as client:
        await client.ping()
        loop = asyncio.get_running_loop()
        began = loop.time()
        await asyncio.gather(*(client.ask(f"s{number}", "take your time") for number in range(count)))
        return loop.time() - began


async def _sleep_all(count: int) -> float:
    loop = asyncio.get_running_loop()
    began = loop.time()
    await asyncio.gather(*(asyncio.sleep(1) for _ in range(count)))
    return loop.time() - began
