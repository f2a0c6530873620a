"""The client for asyncio: cancelling, streams, many calls at once, and daemons that go away."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import aclosing
from typing import Any, TypeVar

import pytest

import samovar.aio
from house import WAIT_S, At, House, in_background, speaking
from samovar import AsyncClient, DaemonGone, NoDaemon, ProtocolMismatch, SamovarError, UsageError

Found = TypeVar("Found")


def run(work: Coroutine[Any, Any, Found], within_s: float = WAIT_S) -> Found:
    """What `work` returns, on a loop in a thread of its own, so that a loop that hangs hangs nobody else."""

    async def bounded() -> Found:
        return await asyncio.wait_for(work, within_s)

    return in_background(asyncio.run, bounded()).result(within_s + 5)


async def until(condition: Callable[[], Awaitable[Found]]) -> Found:
    """The first true value of `condition`; `run` bounds the wait."""
    while not (found := await condition()):
        await asyncio.sleep(0.002)
    return found


async def running(client: AsyncClient, session: str) -> str:
    """The ticket of the session's ask that runs, once one does."""

    async def found() -> str | None:
        return next((ask.ask for ask in (await client.status(session=session)).asks if ask.state == "running"), None)

    return await until(found)


@pytest.fixture
def here(house: House) -> House:
    """A house whose door is open."""
    house.open_door()
    return house


# ---------------------------------------------------------------- many at once, and one amid them


def test_two_hundred_calls_at_once_each_get_their_own_answer(here: House) -> None:
    async def work() -> None:
        async with AsyncClient(here.home()) as client:
            await asyncio.gather(*(client.spawn(f"w{n}") for n in range(200)))
            asks = await asyncio.gather(*(client.ask(f"w{n}", f"number {n}") for n in range(200)))
            assert [(ask.session, ask.text) for ask in asks] == [(f"w{n}", f"number {n}") for n in range(200)]
            assert len(await client.list()) == 200

    run(work())


def test_calls_that_are_made_at_once_share_one_connection(here: House, monkeypatch: pytest.MonkeyPatch) -> None:
    made = connections(monkeypatch)

    async def work() -> None:
        async with AsyncClient(here.home()) as client:
            await asyncio.gather(*(client.ping() for _ in range(50)))

    run(work())
    assert len(made) == 1


def test_short_calls_are_answered_while_long_ones_wait(here: House) -> None:
    async def work() -> None:
        async with AsyncClient(here.home()) as client:
            await client.spawn("w1", model="fake/hang")
            long = asyncio.create_task(client.ask("w1", "hang"))
            await running(client, "w1")
            assert (await client.ping()).pid == os.getpid()
            assert not long.done()
            await client.kill_all()
            with pytest.raises(SamovarError) as caught:
                await long
            assert caught.value.code == "cancelled"

    run(work())


# ---------------------------------------------------------------- cancelling


def test_cancelling_a_call_cancels_its_ask(here: House) -> None:
    async def work() -> None:
        async with AsyncClient(here.home()) as client:
            await client.spawn("w1", model="fake/hang")
            call = asyncio.create_task(client.ask("w1", "hang"))
            ticket = await running(client, "w1")
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            assert (await client.poll(ticket, wait_s=WAIT_S)).state == "cancelled"
            assert (await client.history("w1")).total == 0

    run(work())


def test_a_call_that_takes_too_long_for_its_caller_is_cancelled(here: House) -> None:
    async def work() -> None:
        async with AsyncClient(here.home()) as client:
            await client.spawn("w1", model="fake/hang")
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(client.ask("w1", "hang"), 0.05)
            await until(lambda: idle(client))
            assert {ask.state for ask in (await client.status(session="w1")).asks} <= {"cancelled"}

    run(work())


async def idle(client: AsyncClient) -> bool:
    return {session.state for session in await client.list()} == {"idle"}


def test_calls_that_are_cancelled_as_soon_as_they_are_made_leave_nothing_behind(here: House) -> None:
    async def work() -> None:
        async with AsyncClient(here.home()) as client:
            for n in range(50):
                await client.spawn(f"w{n}", model="fake/hang")
            calls = [asyncio.create_task(client.ask(f"w{n}", "hang")) for n in range(50)]
            for turn in range(50):
                await asyncio.sleep(0)
                calls[turn].cancel()
            await asyncio.gather(*calls, return_exceptions=True)
            await until(lambda: idle(client))

    run(work())


# ---------------------------------------------------------------- streams


def test_a_stream_yields_the_whole_text_in_parts(here: House) -> None:
    async def work() -> None:
        async with AsyncClient(here.home()) as client:
            await client.spawn("w1", model="fake/words:100")
            parts = [part async for part in client.session("w1").stream("one")]
            assert len(parts) > 1
            assert "".join(parts) == (await client.history("w1")).messages[-1].content

    run(work())


def test_many_streams_at_once_are_told_apart(here: House) -> None:
    async def work() -> None:
        async with AsyncClient(here.home()) as client:
            for n in range(20):
                await client.spawn(f"w{n}")

            async def told(n: int) -> str:
                return "".join([part async for part in client.session(f"w{n}").stream(f"the words of {n} " * 20)])

            assert await asyncio.gather(*map(told, range(20))) == [f"the words of {n} " * 20 for n in range(20)]

    run(work())


def test_leaving_a_stream_early_cancels_the_ask(here: House) -> None:
    async def work() -> None:
        async with AsyncClient(here.home()) as client:
            await client.spawn("w1", model="fake/words:1000000:0.001")
            async with aclosing(client.session("w1").stream("one")) as parts:
                async for _ in parts:
                    ticket = await running(client, "w1")
                    break
            assert (await client.poll(ticket, wait_s=WAIT_S)).state == "cancelled"

    run(work())


def test_an_error_amid_a_stream_is_raised(here: House) -> None:
    async def work() -> None:
        async with AsyncClient(here.home()) as client:
            await client.spawn("w1", model="fake/cut:3")
            with pytest.raises(SamovarError) as caught:
                [part async for part in client.session("w1").stream("one")]
            assert caught.value.code == "provider_error"

    run(work())


def test_a_handle_does_for_one_session_what_the_client_does(here: House) -> None:
    async def work() -> None:
        async with AsyncClient(here.home()) as client:
            await client.spawn("base")
            base = client.session("base")
            assert (await base.ask("one")).text == "one"
            worker = await base.fork("w1", at="1")
            assert (await client.history(worker.name)).total == 1
            await worker.kill()
            assert [session.name for session in await client.list()] == ["base"]

    run(work())


# ---------------------------------------------------------------- closing


def test_closing_ends_the_calls_under_way(here: House) -> None:
    async def work() -> None:
        client = AsyncClient(here.home())
        await client.spawn("w1", model="fake/hang")
        calls = [asyncio.create_task(client.ask("w1", "hang")) for _ in range(5)]
        await running(client, "w1")
        await client.close()
        for call in calls:
            with pytest.raises(SamovarError) as caught:
                await call
            assert caught.value.code == "client_closed"

    run(work())


def test_a_closed_client_refuses_calls_and_may_be_closed_again(here: House) -> None:
    async def work() -> None:
        client = AsyncClient(here.home())
        await client.ping()
        await client.close()
        await client.close()
        with pytest.raises(SamovarError) as caught:
            await client.ping()
        assert caught.value.code == "client_closed"

    run(work())


def test_a_client_that_is_still_connecting_can_be_closed(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = connections(monkeypatch)

    async def work() -> None:
        client = AsyncClient(At({"ops": f"ipc://{tmp_path_factory.mktemp('s')}/none"[-100:], "pid": 1}))
        call = asyncio.create_task(client.ping())
        while not made:
            await asyncio.sleep(0.001)
        await client.close()
        with pytest.raises(SamovarError) as caught:
            await call
        assert caught.value.code == "client_closed"

    try:
        run(work(), 5)
    except TimeoutError:
        for connection in made:  # The loop hangs until its sockets are gone.
            connection.close()
        raise AssertionError("close() hangs, and the loop with it") from None


def connections(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Every connection that an `AsyncClient` makes from now on."""
    made: list[Any] = []

    class Noted(samovar.aio.Connection):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            made.append(self)

    monkeypatch.setattr(samovar.aio, "Connection", Noted)
    return made


@pytest.mark.parametrize("value", [{1, 2}, b"bytes", "\ud800"])
def test_what_json_cannot_say_is_refused_before_it_is_sent(here: House, value: object) -> None:
    async def work() -> None:
        async with AsyncClient(here.home()) as client:
            with pytest.raises(UsageError):
                await client.call("ask", session="w1", prompt=value)
            assert await client.ping()

    run(work())


# ---------------------------------------------------------------- daemons that go away, or are none of ours


def test_a_daemon_that_dies_amid_calls_is_told_to_each_of_them_and_the_next_one_found(here: House) -> None:
    async def work() -> None:
        async with AsyncClient(here.home()) as client:
            await client.spawn("w1", model="fake/hang")
            calls = [asyncio.create_task(client.ask("w1", "hang")) for _ in range(5)]
            await running(client, "w1")
            await asyncio.to_thread(here.restart)
            for call in calls:
                with pytest.raises(SamovarError) as caught:
                    await call
                assert caught.value.code in ("daemon_gone", "interrupted", "cancelled")
            assert [session.name for session in await until(lambda: listed(client))] == ["w1"]

    run(work())


async def listed(client: AsyncClient) -> Any:
    """The sessions; nothing where the client learns only now that its daemon is gone."""
    try:
        return await client.list()
    except DaemonGone:
        return None


def test_an_endpoint_that_nobody_listens_at_is_no_daemon(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(samovar.aio, "CONNECT_TIMEOUT_S", 0.2)

    async def work() -> None:
        async with AsyncClient(At({"ops": f"ipc://{tmp_path_factory.mktemp('s')}/none"[-100:], "pid": 1})) as client:
            with pytest.raises(NoDaemon):
                await client.ping()

    run(work())


def test_a_daemon_that_speaks_another_version_is_told_apart() -> None:
    async def work(home: At) -> None:
        async with AsyncClient(home) as client:
            for _ in range(2):
                with pytest.raises(ProtocolMismatch):
                    await asyncio.wait_for(client.ping(), 5)

    with speaking(b"samovar/2") as home:
        run(work(home))
