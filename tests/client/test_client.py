"""The blocking client: many threads on one connection, streams, interrupts, and daemons that go away."""

import random
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
import zmq

import samovar
from house import WAIT_S, At, House, eventually, in_background, speaking
from samovar import Client, DaemonGone, NoDaemon, ProtocolMismatch, SamovarError, UsageError
from samovar.client import TextStream


@pytest.fixture
def client(house: House) -> Iterator[Client]:
    house.open_door()
    found = house.client()
    yield found
    in_background(found.close).result(WAIT_S)


def running(client: Client, session: str) -> str:
    """The ticket of the session's ask that runs, once one does."""

    def found() -> str | None:
        return next((ask.ask for ask in client.status(session=session).asks if ask.state == "running"), None)

    eventually(lambda: client.status(session=session).session.state == "busy", f"an ask of {session} runs")
    return eventually(found, f"an ask of {session} runs")


# ---------------------------------------------------------------- many at once


def test_twenty_threads_share_one_connection_and_each_call_gets_its_own_answer(client: Client) -> None:
    for n in range(20):
        client.spawn(f"w{n}", model="fake/words:30:0.001" if n % 2 else "fake")

    def work(n: int) -> list[Any]:
        own = random.Random(n)
        told = []
        for turn in range(15):
            if own.random() < 0.5:
                told.append(client.ask(f"w{n}", f"{n} in turn {turn}"))
            else:
                assert [message.role for message in client.history(f"w{n}").messages[-1:]] in ([], ["assistant"])
                assert client.ping().protocol == samovar.PROTOCOL
        return told

    for n, call in enumerate([in_background(work, n) for n in range(20)]):
        told = call.result(WAIT_S)
        prompts = [message.content for message in client.history(f"w{n}").messages if message.role == "user"]
        assert len(prompts) == len(told) and all(prompt.startswith(f"{n} in turn ") for prompt in prompts)
        assert {ask.session for ask in told} <= {f"w{n}"}
        if n % 2 == 0:
            assert [ask.text for ask in told] == prompts


def test_short_calls_are_answered_while_long_ones_wait(client: Client) -> None:
    for n in range(10):
        client.spawn(f"w{n}", model="fake/hang")
    long = [in_background(client.ask, f"w{n}", "hang") for n in range(10)]
    eventually(lambda: client.status().running == 10, "ten asks run")
    assert not any(call.done() for call in long)
    client.kill_all()
    assert {call.exception(WAIT_S).code for call in long} == {"cancelled"}  # type: ignore[union-attr]


def test_the_thread_that_reads_may_leave_and_another_reads_on(client: Client) -> None:
    """Whoever waited first has its answer first, and the others must not wait for it any more."""
    for n in range(8):
        client.spawn(f"w{n}", model="fake/hang")
    calls = {}
    for n in range(8):
        calls[n] = in_background(client.ask, f"w{n}", "hang")
        running(client, f"w{n}")
    for n in (0, 3, 1, 7, 2, 6, 4, 5):
        client.kill([f"w{n}"])
        assert calls[n].exception(WAIT_S).code == "cancelled"


# ---------------------------------------------------------------- streams


def test_a_stream_yields_the_whole_text_in_parts_and_then_has_the_reply(client: Client) -> None:
    client.spawn("w1", model="fake/words:100")
    stream = client.session("w1").stream("one")
    parts = list(stream)
    assert len(parts) > 1
    assert stream.reply and "".join(parts) == stream.reply.text == client.history("w1").messages[-1].content


def test_parts_that_a_slow_reader_missed_are_made_up_for(client: Client) -> None:
    client.spawn("w1", model="fake/words:10")
    *events, result = client.stream("ask", session="w1", prompt="one")
    for missing in range(len(events)):
        kept = [*events[:missing], *events[missing + 1 :], result]
        assert "".join(TextStream(event for event in kept)) == result["value"]["text"]


def test_calls_go_on_between_the_parts_of_a_stream(client: Client) -> None:
    client.spawn("w1", model="fake/words:50")
    told = ""
    for part in client.session("w1").stream("one"):
        told += part
        assert client.ping()
    assert told == client.history("w1").messages[-1].content


def test_leaving_a_stream_early_cancels_the_ask(client: Client) -> None:
    client.spawn("w1", model="fake/words:1000000:0.001")
    for _ in client.session("w1").stream("one"):
        ticket = running(client, "w1")
        break
    assert client.poll(ticket, wait_s=WAIT_S).state == "cancelled"
    assert client.history("w1").total == 0


def test_an_error_amid_a_stream_is_raised(client: Client) -> None:
    client.spawn("w1", model="fake/cut:3")
    told = []
    with pytest.raises(SamovarError) as caught:
        told.extend(client.session("w1").stream("one"))
    assert caught.value.code == "provider_error" and caught.value.fault == "backend"
    assert client.poll(caught.value.data["ask"]).state == "failed"


def test_ctrl_c_amid_an_ask_cancels_it_and_the_client_goes_on(client: Client) -> None:
    client.spawn("w1", model="fake/hang")
    main = threading.main_thread().ident
    assert main == threading.get_ident()
    told: list[str] = []

    def press(other: Client) -> None:
        with other:
            told.append(running(other, "w1"))
            signal.pthread_kill(main, signal.SIGINT)

    presser = threading.Thread(target=press, args=[Client(client.home)])
    presser.start()
    with pytest.raises(KeyboardInterrupt):
        client.ask("w1", "one")
    presser.join(WAIT_S)
    assert client.poll(told[0], wait_s=WAIT_S).state == "cancelled"


def test_a_handle_does_for_one_session_what_the_client_does(client: Client) -> None:
    client.spawn("base", system="s")
    base = client.session("base")
    assert base.ask("one").text == "one"
    assert client.poll(base.ask_async("two").ask, wait_s=WAIT_S).text == "two"
    worker = base.fork("w1", at="3")
    assert (worker.name, worker.status().messages, worker.status().forked_from) == ("w1", 3, "base")
    worker.kill()
    assert [session.name for session in client.list()] == ["base"]
    assert "base" in repr(base)


# ---------------------------------------------------------------- what can't be sent, and closing


@pytest.mark.parametrize("value", [{1, 2}, b"bytes", object(), "\ud800"])
def test_what_json_cannot_say_is_refused_before_it_is_sent(client: Client, value: object) -> None:
    with pytest.raises(UsageError) as caught:
        client.call("ask", session="w1", prompt=value)
    assert (caught.value.code, caught.value.fault) == ("usage", "caller")
    assert client.ping()


def test_closing_ends_the_calls_of_other_threads(client: Client) -> None:
    for n in range(5):
        client.spawn(f"w{n}", model="fake/hang")
    calls = [in_background(client.ask, f"w{n}", "hang") for n in range(5)]
    streams = [in_background(list, client.stream("ask", session=f"w{n}", prompt="waits")) for n in range(5)]
    eventually(lambda: (client.status().running, client.status().queued) == (5, 5), "all are under way")
    client.close()
    assert {call.exception(WAIT_S).code for call in calls + streams} == {"client_closed"}  # type: ignore[union-attr]


def test_a_closed_client_refuses_calls_and_may_be_closed_again(client: Client) -> None:
    client.ping()
    client.close()
    client.close()
    for use in (client.ping, lambda: client.session("w1").ask("one"), lambda: list(client.stream("ping"))):
        with pytest.raises(SamovarError) as caught:
            use()
        assert caught.value.code == "client_closed"


def test_a_client_that_never_called_is_closed_without_a_daemon(tmp_path: Path) -> None:
    with Client(str(tmp_path)):
        pass
    with Client(str(tmp_path), start=False) as client, pytest.raises(NoDaemon) as caught:
        client.ping()
    assert caught.value.code == "no_daemon" and str(tmp_path) in caught.value.message


# ---------------------------------------------------------------- daemons that go away, or are none of ours


def test_a_daemon_that_dies_amid_calls_is_told_to_each_of_them(house: House, client: Client) -> None:
    for n in range(5):
        client.spawn(f"w{n}", model="fake/hang")
    calls = [in_background(client.ask, f"w{n}", "hang") for n in range(5)]
    eventually(lambda: client.status().running == 5, "all run")
    house.slam_door()
    errors = [call.exception(WAIT_S) for call in calls]
    assert {type(error) for error in errors} <= {DaemonGone, SamovarError}
    assert {error.code for error in errors} <= {"daemon_gone", "cancelled"}  # type: ignore[union-attr]


def answers(client: Client) -> bool:
    """Whether the daemon does; for a moment after its end a client may take it for up."""
    try:
        return client.ping().protocol > 0
    except DaemonGone:
        return False


def test_a_client_goes_on_after_its_daemon_was_restarted(house: House, client: Client) -> None:
    client.spawn("w1")
    client.ask("w1", "one")
    for _ in range(5):
        house.restart()
        eventually(lambda: answers(client), "the next daemon answers")
        assert client.history("w1").total == 2


def test_threads_that_call_while_the_daemon_is_restarted_never_hang(house: House, client: Client) -> None:
    client.spawn("w1")
    over = threading.Event()
    went: Counter[str] = Counter()

    def work() -> None:
        while not over.is_set():
            try:
                client.history("w1")
                went["fine"] += 1
            except SamovarError as error:
                went[error.code] += 1

    calls: list[Future[None]] = [in_background(work) for _ in range(8)]
    for _ in range(15):
        fine = went["fine"]
        eventually(lambda: went["fine"] > fine + 20, "calls are answered again", 10)
        house.restart()
    over.set()
    for call in calls:
        call.result(WAIT_S)
    assert set(went) <= {"fine", "daemon_gone", "cancelled"}, went


def test_an_endpoint_that_nobody_listens_at_is_no_daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("samovar.client.CONNECT_TIMEOUT_S", 0.2)
    with Client(At({"ops": f"ipc://{tmp_path}/none"[-100:], "pid": 1})) as client, pytest.raises(NoDaemon) as caught:
        client.ping()
    assert "0.2 s" in caught.value.message


def test_with_keys_the_door_lets_in_whoever_has_them_and_refuses_the_others(house: House) -> None:
    house.open_door(curve=zmq.curve_keypair())
    with house.client() as client:
        assert client.ping()
    info = house.home().reach()
    for keys in ({"curve_publickey": zmq.curve_keypair()[0].decode()}, {"curve_publickey": None}):
        with Client(At({**info, **keys})) as client, pytest.raises(NoDaemon) as caught:
            client.ping()
        assert caught.value.code == "connection_refused"
    with house.client() as client:
        assert client.ping()


@pytest.mark.parametrize("magic", [[b"samovar/2"], [b"other/1"], [], [b"samovar/1", b"more"]])
def test_a_daemon_that_speaks_another_version_is_told_apart(magic: list[bytes]) -> None:
    with speaking(*magic) as home, Client(home) as client:
        for _ in range(2):
            with pytest.raises(ProtocolMismatch) as caught:
                client.ping()
            assert "samovar/1" in caught.value.message and caught.value.code == "protocol_mismatch"


def test_each_thread_is_told_that_the_daemon_speaks_another_version() -> None:
    with speaking(b"samovar/2") as home, Client(home) as client:
        calls = [in_background(client.ping) for _ in range(10)]
        assert {type(call.exception(10)) for call in calls} == {ProtocolMismatch}
