"""The ops door against clients that mean no good or are broken: nothing stops it, and a good client is answered.

Fuzzing is derandomized, so that a run that is red is red for everybody.
"""

import contextlib
import itertools
import json
import os
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import zmq
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from house import LOADERS, WAIT_S, House, OverTheSocket, eventually, hanging, in_background, over_the_socket
from samovar import wire
from samovard.doors.socket import _UNSENT_LIMIT
from samovard.model.backend import (
    Capabilities,
    Finished,
    ModelSpec,
    Request,
    Settings,
    StreamEvent,
    TextDelta,
    Usage,
)
from samovard.ops.all import OPS

FUZZ = settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


class Raw:
    """A DEALER that sends whatever it is told to."""

    def __init__(self, context: zmq.Context[Any], house: House, **options: Any) -> None:
        self.socket = context.socket(zmq.DEALER)
        self.socket.linger = 0
        self.socket.rcvtimeo = int(WAIT_S * 1000)
        for name, value in options.items():
            setattr(self.socket, name, value)
        self.socket.connect(f"ipc://{house.sockets}/ops")

    def send(self, *frames: bytes) -> None:
        self.socket.send_multipart(frames)

    def call(self, request: bytes, op: str, **args: Any) -> None:
        self.send(wire.MAGIC, wire.CALL, request, json.dumps({"op": op, "args": args}).encode())

    def listen(self, request: bytes, op: str, **args: Any) -> None:
        """A call whose events are wanted."""
        self.send(wire.MAGIC, wire.CALL, request, json.dumps({"op": op, "args": args, "events": True}).encode())

    def until(self, **told: Any) -> None:
        """Returns once an event has come that says this."""
        while True:
            kind, _, body = self.receive()
            assert kind == wire.EVENT, body
            if told.items() <= body.items():
                return

    def receive(self) -> tuple[bytes, bytes, Any]:
        """Kind, request id and body of what comes next."""
        magic, kind, request, body = self.socket.recv_multipart()
        assert magic == wire.MAGIC
        return kind, request, json.loads(body)

    def answer(self, request: bytes) -> tuple[bytes, Any]:
        """Kind and body of the answer to a request; what comes before it and is another's fails the test."""
        while True:
            kind, told, body = self.receive()
            assert told == request, (kind, told, body)
            if kind != wire.EVENT:
                return kind, body

    def error(self) -> tuple[bytes, str]:
        """Request id and code of the next thing to come, which is an error."""
        kind, request, body = self.receive()
        assert kind == wire.ERROR, body
        assert body["message"] and body["fault"] == "caller"
        return request, body["code"]


class Door(OverTheSocket):
    """A good client of a door, and any number of bad ones."""

    raw: Callable[..., Raw]


@pytest.fixture
def door(house: House) -> Iterator[Door]:
    """In the end the good client is answered, whatever the test did."""
    with over_the_socket(house) as good, contextlib.ExitStack() as stack:
        context: zmq.Context[Any] = zmq.Context()
        stack.callback(context.term)

        def raw(**options: Any) -> Raw:
            made = Raw(context, house, **options)
            stack.callback(made.socket.close)
            return made

        good.call("spawn", name="good")
        good.raw = raw  # type: ignore[attr-defined]
        yield good  # type: ignore[misc]
        assert good.call("ask", session="good", prompt="still there?")["text"] == "still there?"


# ---------------------------------------------------------------- frames that are no request

kinds = st.sampled_from([wire.CALL, wire.CANCEL, wire.EVENT, wire.OK, b"", b"CALL"]) | st.binary(max_size=20)
frames = st.lists(
    st.sampled_from([b"", wire.MAGIC, wire.CALL, wire.CANCEL, b"1", b"{}"]) | st.binary(max_size=300),
    min_size=1,
    max_size=7,
) | st.tuples(st.just(wire.MAGIC), kinds, st.binary(max_size=300), st.binary(max_size=300)).map(list)


def test_random_frames_are_refused_or_dropped_and_never_stop_the_door(door: Door) -> None:
    raw, count = door.raw(), itertools.count()

    @FUZZ
    @given(frames)
    def fuzz(sent: list[bytes]) -> None:
        raw.send(*sent)
        after = b"after-%d" % next(count)
        raw.call(after, "ping")
        while True:
            kind, request, body = raw.receive()
            if (kind, request) == (wire.OK, after):
                return
            assert kind == wire.ERROR and body["code"] in ("malformed_request", "protocol_mismatch"), sent

    fuzz()


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["good", "1", "fake"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=5,
)
calls = st.sampled_from(sorted(OPS)).flatmap(
    lambda op: st.tuples(
        st.just(op),
        st.dictionaries(st.sampled_from([param.name for param in OPS[op].view().params] or ["x"]), values, max_size=4),
    )
)


def test_no_arguments_make_an_op_fail_inside(door: Door) -> None:
    raw, count = door.raw(), itertools.count()

    @settings(FUZZ, max_examples=400)
    @given(calls)
    def fuzz(sent: tuple[str, Any]) -> None:
        op, args = sent
        if "wait_s" in args:
            args["wait_s"] = 0.001
        body = json.dumps({"op": op, "args": args}, ensure_ascii=False).encode("utf-8", "surrogatepass")
        request = b"%d" % next(count)
        raw.send(wire.MAGIC, wire.CALL, request, body)
        kind, answer = raw.answer(request)
        assert kind == wire.OK or answer["code"] != "internal", (sent, answer)

    fuzz()
    door.call("kill-all")
    door.call("spawn", name="good")


@pytest.mark.parametrize(
    "sent",
    [
        [b""],
        [b"", b""],
        [b"hello"],
        [wire.MAGIC],
        [wire.MAGIC, wire.CALL, b"1"],
        [wire.MAGIC, wire.CALL, b"1", b"{}", b""],
    ],
)
def test_a_wrong_number_of_frames_gets_an_error(door: Door, sent: list[bytes]) -> None:
    raw = door.raw()
    raw.send(*sent)
    assert raw.error() == (b"1" if len(sent) > 2 else b"", "malformed_request")


@pytest.mark.parametrize(
    ("kind", "request_id"), [(wire.EVENT, b"1"), (b"", b"1"), (wire.CALL, b""), (wire.CALL, b"x" * 256)]
)
def test_a_wrong_kind_or_request_id_gets_an_error(door: Door, kind: bytes, request_id: bytes) -> None:
    raw = door.raw()
    raw.send(wire.MAGIC, kind, request_id, b'{"op": "ping"}')
    assert raw.error() == (request_id if len(request_id) < 256 else b"", "malformed_request")
    raw.call(b"y" * 255, "ping")
    assert raw.answer(b"y" * 255)[0] == wire.OK


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"null",
        b"[]",
        b'"ping"',
        b"{}",
        b'{"op": 1}',
        b'{"op": null}',
        b'{"op": "ping", "args": []}',
        b'{"op": "ping", "args": null}',
        b'{"op": "ping", "args": ' + b"9" * 4300 + b"}",
        b'{"op": "ping", "args": "' + b"x" * 100_000 + b'"}',
        b'{"op": "ping", "more": 1}',
        b'{"op": "ping", "events": "yes"}',
        b'{"op": "ping", "args": {"x": "\\ud800"}}',
        b"[" * 100_000,
        b'{"op": "ping"} {"op": "ping"}',
    ],
    ids=lambda body: repr(body[:40]),
)
def test_a_body_that_is_no_request_gets_an_error_with_its_id(door: Door, body: bytes) -> None:
    raw = door.raw()
    raw.send(wire.MAGIC, wire.CALL, b"1", body)
    assert raw.error() == (b"1", "malformed_request")


def test_another_version_of_the_protocol_gets_an_error_that_says_which_is_spoken(door: Door) -> None:
    raw = door.raw()
    raw.send(b"samovar/999", wire.CALL, b"1", b'{"op": "ping", "args": {}}')
    kind, request, body = raw.receive()
    assert (kind, request, body["code"]) == (wire.ERROR, b"1", "protocol_mismatch")
    assert "samovar/999" in body["message"] and wire.MAGIC.decode() in body["message"]
    raw.send(b"samovar/" + b"9" * 10_000)
    assert raw.error() == (b"", "protocol_mismatch")


def test_a_frame_over_the_limit_ends_its_connection_and_no_other(
    house: House, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "MAX_FRAME_BYTES", 10_000)
    door: Door = request.getfixturevalue("door")
    fits = door.raw()
    fits.send(wire.MAGIC, wire.CALL, b"1", b"x" * 10_000)
    assert fits.error() == (b"1", "malformed_request")
    raw = door.raw()
    raw.call(b"0", "ping")
    assert raw.answer(b"0")[0] == wire.OK
    monitor = raw.socket.get_monitor_socket(zmq.EVENT_DISCONNECTED)
    raw.send(wire.MAGIC, wire.CALL, b"1", b"x" * 10_001)
    assert monitor.poll(WAIT_S * 1000), "the connection has ended"
    raw.socket.disable_monitor()
    monitor.close()
    raw.call(b"2", "ping")
    assert raw.answer(b"2")[0] == wire.OK
    with pytest.raises(Exception, match="10,000") as caught:
        door.call("ask", session="good", prompt="x" * 10_001)
    assert caught.value.code == "usage"


# ---------------------------------------------------------------- requests out of order


def test_a_request_id_that_is_under_way_is_refused_and_its_call_goes_on(door: Door) -> None:
    door.call("spawn", name="w1", model="fake/hang")
    raw = door.raw()
    raw.listen(b"1", "ask", session="w1", prompt="one")
    raw.until(state="running")
    raw.call(b"1", "ping")
    assert raw.error() == (b"1", "malformed_request")
    assert door.call("status")["running"] == 1
    raw.send(wire.MAGIC, wire.CANCEL, b"1", b"")
    kind, body = raw.answer(b"1")
    assert (kind, body["code"]) == (wire.ERROR, "cancelled")


def test_a_request_id_is_free_again_once_its_answer_has_come(door: Door) -> None:
    raw = door.raw()
    for _ in range(2000):
        raw.call(b"1", "ping")
        assert raw.answer(b"1")[0] == wire.OK


def test_cancelling_what_is_not_under_way_does_nothing(door: Door) -> None:
    door.call("spawn", name="w1", model="fake/hang")
    ticket = hanging(door, "w1")
    raw = door.raw()
    for request in (b"1", b"2", b"\x00" * 255):  # The good client's own requests have such ids.
        raw.send(wire.MAGIC, wire.CANCEL, request, b"anything")
    raw.call(b"after", "poll", ticket=ticket)
    kind, body = raw.answer(b"after")
    assert (kind, body["state"]) == (wire.OK, "running")


def test_nobody_cancels_the_call_of_another_client(door: Door) -> None:
    door.call("spawn", name="w1", model="fake/hang")
    victim, raw = door.raw(), door.raw()
    victim.listen(b"1", "ask", session="w1", prompt="one")
    victim.until(state="running")
    raw.send(wire.MAGIC, wire.CANCEL, b"1", b"")
    raw.call(b"after", "status")
    assert raw.answer(b"after")[1]["running"] == 1


def test_each_call_that_is_cancelled_at_once_is_answered(door: Door) -> None:
    raw = door.raw(rcvtimeo=5000)
    requests = {b"%d" % n for n in range(200)}
    for request in requests:
        raw.call(request, "ping")
        raw.send(wire.MAGIC, wire.CANCEL, request, b"")
    raw.call(b"last", "ping")
    answered = set()
    while answered < {*requests, b"last"}:
        try:
            kind, request, _ = raw.receive()
        except zmq.Again:
            raise AssertionError(f"{len(requests) - len(answered)} calls were never answered") from None
        assert kind in (wire.OK, wire.ERROR)
        answered.add(request)


class HalfPairs:
    """A backend whose reply no JSON, no SQLite and no terminal can hold."""

    name, capabilities, settings_type = "odd", Capabilities(), Settings

    def models(self) -> Sequence[ModelSpec]:
        return [ModelSpec("half-pairs")]

    def find(self, model: str) -> ModelSpec | None:
        return ModelSpec(model)

    async def stream(self, request: Request) -> AsyncIterator[StreamEvent]:
        yield TextDelta("half of a pair: \ud800")
        yield Finished(Usage())

    async def close(self) -> None:
        pass


def test_a_reply_that_cannot_be_sent_fails_its_ask_and_every_call_about_it_is_answered(tmp_path: Path) -> None:
    house = House(tmp_path, {**LOADERS, "odd": HalfPairs})
    try:
        with over_the_socket(house) as door:
            door.call("spawn", name="w1", model="odd")
            listening = in_background(lambda: list(door.stream("ask", session="w1", prompt="one")))
            for call in (listening, door.begin("ask", session="w1", prompt="two")):
                error: Any = call.exception(10)
                assert error and error.code in ("malformed_response", "internal")
                assert door.begin("poll", ticket=error.data["ask"]).result(10)["state"] == "failed"
            assert len(door.begin("status", session="w1").result(10)["asks"]) == 2
            assert door.begin("history", session="w1").result(10)["total"] == 0
    finally:
        house.end()


# ---------------------------------------------------------------- clients that leave, or do not read


def test_a_client_that_leaves_amid_its_ask_disturbs_nobody(door: Door) -> None:
    door.call("spawn", name="w1", model="fake/words:300:0.002")
    raw = door.raw()
    raw.listen(b"1", "ask", session="w1", prompt="one")
    raw.until(type="delta")
    raw.socket.close()
    *_, result = door.stream("ask", session="w1", prompt="two")
    assert result["value"]["state"] == "done"
    latest = door.call("status", session="w1")["asks"]
    assert len(latest) == 2 and all(ask["state"] in ("done", "cancelled") for ask in latest)
    eventually(lambda: door.house.do(lambda: not door.house.door._calls), "no call is left behind")


def test_a_client_that_does_not_read_loses_events_and_gets_the_whole_reply(door: Door) -> None:
    door.call("spawn", name="w1", model="fake/words:40000")
    raw = door.raw(rcvhwm=1, rcvbuf=4096)
    raw.listen(b"1", "ask", session="w1", prompt="one")
    (ask,) = eventually(lambda: door.call("status", session="w1")["asks"], "the ask is there")
    while door.call("poll", ticket=ask["ask"])["state"] != "done":
        assert door.call("ping")
        assert len(unsent(door)) <= 1
    heard, (kind, body) = 0, (b"", None)
    while kind != wire.OK:
        kind, _, body = raw.receive()
        heard += kind == wire.EVENT and body["type"] == "delta"
    assert body["text"].endswith("w39999") and heard < 40_000, "some of the deltas were dropped"


def test_answers_that_nobody_reads_are_kept_up_to_a_limit(door: Door) -> None:
    raw = door.raw(rcvhwm=1, sndhwm=0, rcvbuf=4096)
    for n in range(25_000):
        raw.call(b"%d" % n, "ping")
    eventually(lambda: len(unsent(door)) == _UNSENT_LIMIT, "as many answers wait as may")
    assert door.call("ping")
    raw.socket.close()
    eventually(lambda: not unsent(door), "the answers of a client that is gone are let go of")


def unsent(door: Door) -> list[list[bytes]]:
    """The answers that wait for a client that does not read."""
    assert door.house.door
    return door.house.do(lambda: [frames for waiting in door.house.door._unsent.values() for frames in waiting])


# ---------------------------------------------------------------- whose reply it is


def test_no_client_sees_the_replies_of_another(door: Door) -> None:
    raws = [door.raw() for _ in range(10)]
    for n in range(10):
        door.call("spawn", name=f"w{n}")
    for turn in range(20):
        for n, raw in enumerate(raws):
            raw.listen(b"%d" % turn, "ask", session=f"w{n}", prompt=f"client {n}, turn {turn}")
    for n, raw in enumerate(raws):
        waiting = set(range(20))
        while waiting:
            kind, request, body = raw.receive()
            assert body["session"] == f"w{n}"
            if kind == wire.OK:
                assert body["text"] == f"client {n}, turn {int(request)}"
                waiting.remove(int(request))


def test_a_client_that_gives_itself_anothers_identity_gets_nothing_of_its(door: Door) -> None:
    victim = door.raw(routing_id=b"victim")
    victim.call(b"0", "ping")
    assert victim.answer(b"0")[0] == wire.OK
    impostor = door.raw(routing_id=b"victim")
    impostor.call(b"1", "ping")
    for n in range(1, 50):
        victim.call(b"%d" % n, "ask", session="good", prompt=f"secret {n}")
        assert victim.answer(b"%d" % n)[1]["text"] == f"secret {n}"
    assert not impostor.socket.poll(0)


# ---------------------------------------------------------------- below ZeroMQ

GREETING = b"\xff" + bytes(8) + b"\x7f" + b"\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32)


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"\x00" * 1000,
        b"\xff" * 1000,
        GREETING[:30],
        GREETING,
        GREETING + b"\x02" + b"\xff" * 8,
        GREETING + b"\x04\x26\x05READY" + b"\xff" * 31,
        GREETING.replace(b"NULL", b"CURVE"[:4]) + os.urandom(500),
    ],
    ids=lambda sent: repr(sent[:12]),
)
def test_bytes_that_are_no_zeromq_disturb_nobody(door: Door, sent: bytes) -> None:
    raw = door.raw()
    raw.call(b"1", "ping")
    assert raw.answer(b"1")[0] == wire.OK
    before = len(os.listdir("/proc/self/fd"))
    with contextlib.ExitStack() as stack:
        for _ in range(20):
            bad = stack.enter_context(socket.socket(socket.AF_UNIX))
            bad.connect(f"{door.house.sockets}/ops")
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                bad.sendall(sent)
        assert door.call("ping")  # While all of them are still there.
        raw.call(b"2", "ping")
        assert raw.answer(b"2")[0] == wire.OK
    eventually(lambda: len(os.listdir("/proc/self/fd")) <= before, "no descriptor is left open")
