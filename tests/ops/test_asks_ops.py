"""The ops that ask, straight into the registry and over the socket: what they promise, and each refusal."""

import sqlite3
from concurrent.futures import wait
from typing import Any

import pytest

from house import WAIT_S, Ops, ended, eventually, everything, hanging, refused, said, state_of
from samovard.core.session import MAX_WAITING
from samovard.model.ids import MAX_PROMPT_BYTES

ASKING = ["ask", "ask-async"]


def code_of(call: Any) -> str | None:
    """Why a call in the background failed."""
    return getattr(call.exception(WAIT_S), "code", None)


# ---------------------------------------------------------------- ask


def test_an_ask_returns_the_reply_and_the_history_holds_both(ops: Ops) -> None:
    ops.call("spawn", name="w1", system="s")
    view = ops.call("ask", session="w1", prompt="one")
    assert (view["session"], view["model"], view["state"], view["text"]) == ("w1", "fake", "done", "one")
    assert (view["stop_reason"], view["error"]) == ("end", None)
    assert view["usage"]["output"] > 0 and view["timing"]["total_s"] >= 0
    assert said(ops, "w1") == [("system", "s"), ("user", "one"), ("assistant", "one")]
    assert view["message"] == ops.call("history", session="w1")["messages"][-1]["id"]
    (session,) = ops.call("list")
    assert (session["asks"], session["usage"], session["head"]) == (1, view["usage"], view["message"])


@pytest.mark.parametrize("text", ["a", "ß∂🍵 \u2028", "nul \x00 in it", " \t around\n", "<reply>\\n'\"%s{}", "e\u0301"])
def test_a_prompt_arrives_and_is_kept_to_the_letter(ops: Ops, text: str) -> None:
    ops.call("spawn", name="w1")
    assert ops.call("ask", session="w1", prompt=text)["text"] == text
    ops.restart()
    assert said(ops, "w1") == [("user", text), ("assistant", text)]


def test_the_text_streams_in_order_before_the_result(ops: Ops) -> None:
    ops.call("spawn", name="w1", model="fake/words:20:0")
    *events, result = ops.stream("ask", session="w1", prompt="one")
    states = [event["state"] for event in events if event["type"] == "state"]
    assert states[-1] == "done" and "running" in states
    told = ""
    for event in (event for event in events if event["type"] == "delta"):
        assert (event["offset"], event["session"], event["ask"]) == (len(told), "w1", result["value"]["ask"])
        assert event["text"]
        told += event["text"]
    assert told == result["value"]["text"] != ""


@pytest.mark.parametrize("op", ASKING)
@pytest.mark.parametrize("prompt", ["", " ", "\n\t \r\n", "\u2003"])
def test_an_empty_prompt_is_refused(ops: Ops, op: str, prompt: str) -> None:
    ops.call("spawn", name="w1")
    refused(ops, "empty_prompt", op, session="w1", prompt=prompt)
    refused(ops, "empty_prompt", "broadcast", prompt=prompt)


def test_a_prompt_of_16_mib_is_taken_and_of_a_byte_more_refused(ops: Ops) -> None:
    ops.call("spawn", name="w1", model="fake/instant")
    fits = "é" * (MAX_PROMPT_BYTES // 2)
    assert ops.call("ask", session="w1", prompt=fits)["text"] == "ok."
    for op in ASKING:
        refused(ops, "prompt_too_large", op, session="w1", prompt=fits + "x")
    refused(ops, "prompt_too_large", "broadcast", prompt=fits + "x")


@pytest.mark.parametrize("op", ASKING)
def test_a_prompt_that_is_no_unicode_text_is_refused(ops: Ops, op: str) -> None:
    """Over the socket by the client itself, which can't spell it as JSON."""
    ops.call("spawn", name="w1")
    with pytest.raises(Exception, match="sent|Unicode") as caught:
        ops.call(op, session="w1", prompt="half of a pair: \ud800")
    assert caught.value.code in ("invalid_argument", "usage")
    assert everything(ops)[1]["w1"]["total"] == 0


@pytest.mark.parametrize("op", ASKING)
def test_an_ask_of_an_unknown_session_is_refused_with_the_nearest_name(ops: Ops, op: str) -> None:
    ops.call("spawn", name="worker")
    assert "'worker'" in refused(ops, "unknown_session", op, session="wroker", prompt="one").message
    refused(ops, "unknown_session", op, session="", prompt="one")


def test_asks_in_one_session_run_in_the_order_they_came(ops: Ops) -> None:
    ops.call("spawn", name="w1", model="fake/sleep:0.001")
    prompts = [f"number {n}" for n in range(50)]
    tickets = [ops.call("ask-async", session="w1", prompt=prompt)["ask"] for prompt in prompts]
    assert {ended(ops, ticket)["state"] for ticket in tickets} == {"done"}
    assert [text for role, text in said(ops, "w1") if role == "user"] == prompts


def test_one_ask_at_a_time_runs_in_a_session_and_sessions_run_at_once(ops: Ops) -> None:
    for n in range(20):
        ops.call("spawn", name=f"w{n}", model="fake/hang")
        hanging(ops, f"w{n}")
        ops.call("ask-async", session=f"w{n}", prompt="waits")
    status = ops.call("status")
    assert (status["running"], status["queued"]) == (20, 20)
    ops.call("spawn", name="free")
    assert ops.call("ask", session="free", prompt="one")["text"] == "one"
    assert {view["state"]: view["queued"] for view in ops.call("list")} == {"busy": 1, "idle": 0}


def test_a_thousand_asks_wait_and_the_next_is_refused(ops: Ops) -> None:
    ops.call("spawn", name="w1", model="fake/hang")
    running = hanging(ops, "w1")
    calls = [ops.call("ask-async", session="w1", prompt=f"number {n}")["ask"] for n in range(MAX_WAITING)]
    assert MAX_WAITING == 1000
    error = refused(ops, "session_busy", "ask-async", session="w1", prompt="one too many")
    assert "1,000" in error.message
    refused(ops, "session_busy", "ask", session="w1", prompt="one too many")
    assert ops.call("status", session="w1")["session"]["queued"] == 1000
    ops.call("cancel", ticket=calls[500])
    ops.call("ask-async", session="w1", prompt="there is room again")
    ops.call("kill", sessions=["w1"])
    assert state_of(ops, running) == state_of(ops, calls[-1]) == "cancelled"


@pytest.mark.parametrize("model", ["fail:provider_error", "cut:3", "garbage", "unfinished", "crash"])
def test_a_failed_ask_raises_its_error_and_leaves_the_session_as_it_was(ops: Ops, model: str) -> None:
    ops.call("spawn", name="base", system="s")
    ops.call("fork", session="base", new="w1", model=f"fake/{model}")
    with pytest.raises(Exception, match=".") as caught:
        ops.call("ask", session="w1", prompt="one")
    view = ops.call("poll", ticket=caught.value.data["ask"])
    assert (view["state"], view["error"]["code"], view["message"]) == ("failed", caught.value.code, None)
    assert said(ops, "w1") == [("system", "s")]
    (latest,) = ops.call("status", session="w1")["asks"]
    assert latest == view
    session = ops.call("status", session="w1")["session"]
    assert (session["state"], session["asks"]) == ("idle", 0)


@pytest.mark.parametrize(
    ("model", "code"), [("garbage", "malformed_response"), ("unfinished", "malformed_response"), ("crash", "internal")]
)
def test_what_a_broken_backend_does_has_a_code(ops: Ops, model: str, code: str) -> None:
    ops.call("spawn", name="w1", model=f"fake/{model}")
    refused_code = code_of(ops.begin("ask", session="w1", prompt="one"))
    assert refused_code == code


def test_after_a_failed_ask_those_that_waited_run(ops: Ops) -> None:
    ops.call("spawn", name="w1", model="fake/cut:3")
    tickets = [ops.call("ask-async", session="w1", prompt="one two three four")["ask"] for _ in range(5)]
    assert [ended(ops, ticket)["state"] for ticket in tickets] == ["failed"] * 5
    assert said(ops, "w1") == []


# ---------------------------------------------------------------- ask-async and poll


def test_ask_async_returns_a_ticket_that_poll_follows_to_the_end(ops: Ops) -> None:
    ops.call("spawn", name="w1", model="fake/words:5:0.001")
    first = ops.call("ask-async", session="w1", prompt="one")
    assert first["state"] in ("queued", "running") and first["message"] is None
    last = ended(ops, first["ask"])
    assert (last["ask"], last["state"]) == (first["ask"], "done")
    assert last["message"] == ops.call("history", session="w1")["messages"][-1]["id"]
    ops.restart()
    assert ops.call("poll", ticket=first["ask"]) == last


def test_poll_gives_the_text_so_far(ops: Ops) -> None:
    ops.call("spawn", name="w1", model="fake/words:1000000:0.001")
    ticket = ops.call("ask-async", session="w1", prompt="one")["ask"]
    early = eventually(lambda: ops.call("poll", ticket=ticket)["text"], "some text")
    later = eventually(
        lambda: text if len(text := ops.call("poll", ticket=ticket)["text"]) > len(early) else "", "more"
    )
    assert later.startswith(early)
    assert ops.call("poll", ticket=ticket)["state"] == "running"


def test_poll_waits_no_longer_than_the_ask_takes(ops: Ops) -> None:
    ops.call("spawn", name="w1", model="fake/hang")
    ticket = hanging(ops, "w1")
    call = ops.begin("poll", ticket=ticket, wait_s=3600)
    ops.call("cancel", ticket=ticket)
    assert call.result(WAIT_S)["state"] == "cancelled"


def test_poll_returns_the_ask_as_it_is_where_its_wait_is_over(ops: Ops) -> None:
    ops.call("spawn", name="w1", model="fake/hang")
    ticket = hanging(ops, "w1")
    assert ops.call("poll", ticket=ticket, wait_s=0.01)["state"] == "running"
    assert ops.call("poll", ticket=ticket)["state"] == "running"


@pytest.mark.parametrize("op", ["poll", "cancel"])
@pytest.mark.parametrize("ticket", ["", "no-such", "w1", "00000000000-00000000", "%", "x" * 10_000])
def test_an_unknown_ticket_is_refused(ops: Ops, op: str, ticket: str) -> None:
    ops.call("spawn", name="w1")
    ops.call("ask", session="w1", prompt="one")
    assert len(refused(ops, "unknown_ticket", op, ticket=ticket).message) < 300


@pytest.mark.parametrize("wait_s", [-1, 3601, "1", float("inf"), float("nan")])
def test_a_wait_out_of_range_is_refused(ops: Ops, wait_s: object) -> None:
    refused(ops, "invalid_argument", "poll", ticket="any", wait_s=wait_s)


# ---------------------------------------------------------------- cancel


def test_a_cancelled_ask_leaves_no_half_reply_and_the_session_goes_on(ops: Ops) -> None:
    ops.call("spawn", name="w1", model="fake/words:1000000:0.001")
    ticket = ops.call("ask-async", session="w1", prompt="one")["ask"]
    eventually(lambda: ops.call("poll", ticket=ticket)["text"], "some text")
    view = ops.call("cancel", ticket=ticket)
    assert (view["state"], view["error"]["code"], view["message"]) == ("cancelled", "cancelled", None)
    assert view["text"]  # What had come is still there to be read.
    assert said(ops, "w1") == []
    ops.call("fork", session="w1", new="w2", model="fake")
    again = ops.call("ask-async", session="w1", prompt="two")["ask"]
    eventually(lambda: ops.call("poll", ticket=again)["text"], "the session answers again")


def test_an_ask_that_waits_is_cancelled_and_the_others_keep_their_order(ops: Ops) -> None:
    ops.call("spawn", name="w1", model="fake/hang")
    running = hanging(ops, "w1")
    waiting = [ops.call("ask-async", session="w1", prompt=f"number {n}")["ask"] for n in range(3)]
    assert ops.call("cancel", ticket=waiting[1])["state"] == "cancelled"
    assert [state_of(ops, ticket) for ticket in (running, *waiting)] == ["running", "queued", "cancelled", "queued"]
    ops.call("cancel", ticket=running)
    eventually(lambda: state_of(ops, waiting[0]) == "running", "the first that waited runs")
    assert state_of(ops, waiting[2]) == "queued"


def test_an_ask_that_has_ended_stays_as_it_is(ops: Ops) -> None:
    ops.call("spawn", name="w1")
    done = ops.call("ask", session="w1", prompt="one")
    assert ops.call("cancel", ticket=done["ask"]) == ops.call("poll", ticket=done["ask"])
    ops.call("spawn", name="w2", model="fake/hang")
    ticket = hanging(ops, "w2")
    first = ops.call("cancel", ticket=ticket)
    assert ops.call("cancel", ticket=ticket) == first
    assert said(ops, "w1") == [("user", "one"), ("assistant", "one")]


def test_twenty_that_cancel_one_ask_at_once_all_get_it_cancelled(ops: Ops) -> None:
    ops.call("spawn", name="w1", model="fake/hang")
    ticket = hanging(ops, "w1")
    calls = [ops.begin("cancel", ticket=ticket) for _ in range(20)]
    assert {call.result(WAIT_S)["state"] for call in calls} == {"cancelled"}


def test_whoever_waits_for_a_cancelled_ask_is_told_its_ticket(ops: Ops) -> None:
    ops.call("spawn", name="w1", model="fake/hang")
    call = ops.begin("ask", session="w1", prompt="one")
    (ask,) = eventually(lambda: ops.call("status", session="w1")["asks"], "the ask is there")
    ops.call("cancel", ticket=ask["ask"])
    assert code_of(call) == "cancelled"
    assert call.exception().data["ask"] == ask["ask"]


def test_leaving_a_call_early_cancels_its_ask(ops: Ops) -> None:
    ops.call("spawn", name="w1", model="fake/hang")
    events = ops.stream("ask", session="w1", prompt="one")
    ticket = next(events)["ask"]
    events.close()
    assert ended(ops, ticket)["state"] == "cancelled"
    assert said(ops, "w1") == []


def test_leaving_a_broadcast_early_cancels_each_of_its_asks(ops: Ops) -> None:
    for name in ("w1", "w2"):
        ops.call("spawn", name=name, model="fake/hang")
    events = ops.stream("broadcast", prompt="one")
    next(events)
    eventually(lambda: ops.call("status")["running"] == 2, "both run")
    events.close()
    eventually(lambda: {view["state"] for view in ops.call("list")} == {"idle"}, "neither runs")


def test_a_call_that_is_left_before_its_ask_is_on_disk_cancels_it_too(ops: Ops) -> None:
    ops.call("spawn", name="w1", model="fake/hang")
    with ops.house.writer_held() as queued:
        call = ops.task("ask", session="w1", prompt="one")
        eventually(lambda: queued() == 1, "the ask is to be written")
        call.cancel()
        ops.call("ping")  # Whatever the cancelling had to say has arrived before this.
    (ask,) = eventually(lambda: ops.call("status", session="w1")["asks"], "the ask is on disk")
    assert ops.call("poll", ticket=ask["ask"], wait_s=5)["state"] == "cancelled"
    assert ops.call("list")[0]["state"] == "idle"


# ---------------------------------------------------------------- relay


def test_relay_asks_one_session_the_last_reply_of_another(ops: Ops) -> None:
    for name in ("a", "b"):
        ops.call("spawn", name=name)
    ops.call("ask", session="a", prompt="old")
    ops.call("ask", session="a", prompt="new")
    view = ops.call("relay", source="a", target="b")
    assert (view["session"], view["state"]) == ("b", "done")
    (role, prompt), (_, reply) = said(ops, "b")
    assert role == "user" and prompt == '<reply session="a">\nnew\n</reply>' == reply
    ops.call("relay", source="a", target="b", note="What of this?")
    assert said(ops, "b")[2][1] == f"What of this?\n\n{prompt}"
    assert len(said(ops, "a")) == 4


def test_a_session_may_be_relayed_to_itself(ops: Ops) -> None:
    ops.call("spawn", name="a")
    ops.call("ask", session="a", prompt="one")
    ops.call("relay", source="a", target="a")
    assert len(said(ops, "a")) == 4


def test_relay_is_refused_where_there_is_no_reply_or_no_session(ops: Ops) -> None:
    ops.call("spawn", name="a", system="s")
    ops.call("spawn", name="b")
    refused(ops, "no_reply", "relay", source="a", target="b")
    refused(ops, "unknown_session", "relay", source="c", target="b")
    ops.call("ask", session="a", prompt="one")
    refused(ops, "unknown_session", "relay", source="a", target="c")
    refused(ops, "prompt_too_large", "relay", source="a", target="b", note="x" * MAX_PROMPT_BYTES)


# ---------------------------------------------------------------- broadcast


def test_a_broadcast_asks_the_named_sessions_and_tells_failures_by_name(ops: Ops) -> None:
    ops.call("spawn", name="good")
    ops.call("spawn", name="bad", model="fake/cut:1")
    ops.call("spawn", name="left-out")
    view = ops.call("broadcast", prompt="one two three", sessions=["bad", "good", "gone", "good"])
    assert (view["replied"], view["failed"]) == (1, 2)
    bad, good, gone = view["outcomes"]
    assert (bad["session"], good["session"], gone["session"]) == ("bad", "good", "gone")
    assert (good["ask"]["text"], good["error"]) == ("one two three", None)
    assert bad["ask"]["state"] == "failed" and bad["error"] == bad["ask"]["error"]
    assert (gone["ask"], gone["error"]["code"]) == (None, "unknown_session")
    assert said(ops, "left-out") == said(ops, "bad") == []


def test_a_broadcast_without_names_asks_every_live_session_at_once(ops: Ops) -> None:
    for n in range(5):
        ops.call("spawn", name=f"w{n}")
    ops.restart()
    view = ops.call("broadcast", prompt="one")
    assert [outcome["session"] for outcome in view["outcomes"]] == [f"w{n}" for n in range(5)]
    assert (view["replied"], view["failed"]) == (5, 0)
    assert ops.call("kill-all")["killed"] == 5
    assert ops.call("broadcast", prompt="one") == {"outcomes": [], "replied": 0, "failed": 0}


def test_a_broadcasts_text_streams_by_session(ops: Ops) -> None:
    for name in ("w1", "w2"):
        ops.call("spawn", name=name)
    *events, result = ops.stream("broadcast", prompt="one two")
    told = {"w1": "", "w2": ""}
    for event in (event for event in events if event["type"] == "delta"):
        told[event["session"]] += event["text"]
    assert told == {outcome["session"]: outcome["ask"]["text"] for outcome in result["value"]["outcomes"]}


def test_what_was_asked_is_on_disk_before_the_ticket_is_told(ops: Ops) -> None:
    ops.call("spawn", name="w1", model="fake/hang")
    ticket = ops.call("ask-async", session="w1", prompt="keep this")["ask"]
    connection = sqlite3.connect(ops.house.folder / "journal.db")
    try:
        found = connection.execute("SELECT prompt, state FROM asks WHERE id = ?", [ticket]).fetchall()
    finally:
        connection.close()
    assert found == [("keep this", "queued")]


def test_a_hundred_asks_of_a_hundred_sessions_at_once_are_each_answered_their_own(ops: Ops) -> None:
    for n in range(100):
        ops.call("spawn", name=f"w{n}")
    calls = {n: ops.begin("ask", session=f"w{n}", prompt=f"number {n}") for n in range(100)}
    assert not wait(calls.values(), WAIT_S).not_done
    assert {n: call.result()["text"] for n, call in calls.items()} == {n: f"number {n}" for n in range(100)}
