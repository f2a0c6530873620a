"""The ops on sessions, straight into the registry and over the socket: what they promise, and each refusal."""

import sqlite3
from pathlib import Path

import pytest

from house import Ops, eventually, hanging, refused, said
from samovard.model.ids import MAX_PROMPT_BYTES, message_id

# ---------------------------------------------------------------- spawn


def test_a_spawned_session_is_idle_empty_and_listed(ops: Ops) -> None:
    view = ops.call("spawn", name="w1", model="fake/instant", settings={"max_tokens": 5})
    assert (view["name"], view["model"], view["state"]) == ("w1", "fake/instant", "idle")
    assert (view["messages"], view["asks"], view["queued"], view["head"]) == (0, 0, 0, None)
    assert (view["forked_from"], view["forked_at"], view["settings"]) == (None, None, {"max_tokens": 5})
    assert ops.call("list") == [view]


def test_without_a_model_a_session_gets_the_default_one(ops: Ops) -> None:
    assert ops.call("spawn", name="w1")["model"] == "fake"


def test_the_system_prompt_is_message_1(ops: Ops) -> None:
    view = ops.call("spawn", name="w1", system="You are brief.")
    (message,) = ops.call("history", session="w1")["messages"]
    assert (message["number"], message["role"], message["content"]) == (1, "system", "You are brief.")
    assert (view["messages"], view["head"]) == (1, message["id"])


@pytest.mark.parametrize("name", ["a", "0", "review:1", "a.b-c_d", "Z" * 64])
def test_a_name_may_have_letters_digits_and_four_marks(ops: Ops, name: str) -> None:
    assert ops.call("spawn", name=name)["name"] == name


@pytest.mark.parametrize("name", ["", " ", "-a", ".a", ":a", "_a", "a b", "a/b", "a\n", "a\x00", "é", "../x", "Z" * 65])
def test_a_bad_name_is_refused(ops: Ops, name: str) -> None:
    refused(ops, "invalid_name", "spawn", name=name)


def test_a_name_in_use_is_refused_also_after_a_restart(ops: Ops) -> None:
    ops.call("spawn", name="w1", system="first")
    refused(ops, "name_in_use", "spawn", name="w1", system="second")
    ops.restart()
    refused(ops, "name_in_use", "spawn", name="w1", system="second")


def test_of_many_that_spawn_one_name_at_once_one_succeeds(ops: Ops) -> None:
    calls = [ops.begin("spawn", name="w1", system=f"number {n}") for n in range(20)]
    codes = sorted(getattr(call.exception(30), "code", "fine") for call in calls)
    assert codes == ["fine"] + ["name_in_use"] * 19
    assert len(ops.call("list")) == 1


def test_an_unknown_model_is_refused_with_the_nearest_name(ops: Ops) -> None:
    assert "'reader'" in refused(ops, "unknown_model", "spawn", name="w1", model="raeder").message
    refused(ops, "unknown_model", "spawn", name="w1", model="nothing-like-it/at all")
    refused(ops, "unknown_model", "spawn", name="w1", model="reader/no-such-id")


@pytest.mark.parametrize("model", ["haiku", "opus", "claude", "claude/some-id", "ollama/x", "gemini", "vllm"])
def test_a_model_that_is_still_to_come_is_told_apart_from_a_misspelling(ops: Ops, model: str) -> None:
    error = refused(ops, "model_unavailable", "spawn", name="w1", model=model)
    assert model in error.message and "'fake'" in error.message


def test_a_misspelled_setting_is_refused_with_the_nearest_name(ops: Ops) -> None:
    error = refused(ops, "invalid_argument", "spawn", name="w1", settings={"max_token": 5})
    assert "'max_token'" in error.message and "'max_tokens'" in error.message


@pytest.mark.parametrize(
    "settings",
    [{"max_tokens": 0}, {"max_tokens": "5"}, {"max_tokens": True}, {"temperature": 2.5}, {"temperature": "x"}],
)
def test_a_setting_out_of_its_range_or_type_is_refused(ops: Ops, settings: dict[str, object]) -> None:
    assert next(iter(settings)) in refused(ops, "invalid_argument", "spawn", name="w1", settings=settings).message


def test_a_system_prompt_over_the_limit_is_refused(ops: Ops) -> None:
    refused(ops, "prompt_too_large", "spawn", name="w1", system="x" * (MAX_PROMPT_BYTES + 1))


# ---------------------------------------------------------------- fork


def test_a_fork_has_its_parents_messages_themselves(ops: Ops) -> None:
    ops.call("spawn", name="base", system="s")
    ops.call("ask", session="base", prompt="one")
    before = ops.call("history", session="base")["messages"]
    view = ops.call("fork", session="base", new="w1")
    assert (view["forked_from"], view["forked_at"], view["messages"]) == ("base", before[-1]["id"], 3)
    assert (view["asks"], view["usage"]["input"]) == (0, 0)
    assert ops.call("history", session="w1")["messages"] == before
    ops.call("ask", session="w1", prompt="two")
    assert (
        ops.call("history", session="w1")["messages"][:3] == before == ops.call("history", session="base")["messages"]
    )


def test_a_fork_copies_no_message(ops: Ops) -> None:
    ops.call("spawn", name="base", system="s")
    ops.call("ask", session="base", prompt="one")
    for n in range(20):
        ops.call("fork", session="base", new=f"w{n}")
    assert rows(ops, "SELECT count(*) FROM messages") == [(3,)]


def test_a_fork_may_begin_at_a_messages_number(ops: Ops) -> None:
    talk(ops, "base", "one", "two")
    for number in (1, 2, 3, 4):
        ops.call("fork", session="base", new=f"w{number}", at=str(number))
        assert said(ops, f"w{number}") == said(ops, "base")[:number]


def test_a_fork_may_begin_at_the_beginning_of_a_messages_id(ops: Ops) -> None:
    talk(ops, "base", "one", "two")
    ids = [message["id"] for message in ops.call("history", session="base")["messages"]]
    for number, ref in enumerate([ids[0], ids[1][:12], ids[2][:8].upper(), ids[3][:31]], 1):
        ops.call("fork", session="base", new=f"w{number}", at=ref)
        assert said(ops, f"w{number}") == said(ops, "base")[:number]


def test_a_message_that_the_history_lacks_is_refused(ops: Ops) -> None:
    talk(ops, "base", "one")
    talk(ops, "other", "elsewhere")
    elsewhere = ops.call("history", session="other")["messages"][0]["id"]
    for ref in ("0", "3", "-1", "1.0", "abc", "zzzz", "0" * 32, "9" * 5000, elsewhere):
        refused(ops, "unknown_message", "fork", session="base", new="w1", at=ref)
        refused(ops, "unknown_message", "rewind", session="base", to=ref)
    ops.call("spawn", name="empty")
    refused(ops, "unknown_message", "fork", session="empty", new="w1", at="1")


def test_the_beginning_of_two_ids_is_refused_as_ambiguous(ops: Ops) -> None:
    root = message_id("system", "s", None)
    prompt = next(p for p in map(str, range(10**7)) if message_id("user", p, root)[:4] == root[:4])
    ops.call("spawn", name="base", system="s")
    ops.call("ask", session="base", prompt=prompt)
    assert "2 messages" in refused(ops, "unknown_message", "fork", session="base", new="w1", at=root[:4]).message
    assert "2 messages" in refused(ops, "unknown_message", "rewind", session="base", to=root[:4]).message
    ops.call("fork", session="base", new="w1", at=root[:12])


@pytest.mark.parametrize("at", ["", " "])
def test_an_empty_reference_is_no_message(ops: Ops, at: str) -> None:
    """A shell's unset variable must not turn "from there" into "from the end"."""
    talk(ops, "base", "one")
    refused(ops, "unknown_message", "fork", session="base", new="w1", at=at)
    refused(ops, "unknown_message", "rewind", session="base", to=at)


def test_a_fork_is_refused_for_each_reason_that_it_names(ops: Ops) -> None:
    talk(ops, "base", "one")
    refused(ops, "unknown_session", "fork", session="bass", new="w1")
    refused(ops, "invalid_name", "fork", session="base", new="no good")
    refused(ops, "name_in_use", "fork", session="base", new="base")
    refused(ops, "unknown_model", "fork", session="base", new="w1", model="raeder")
    refused(ops, "model_unavailable", "fork", session="base", new="w1", model="haiku")


def test_a_fork_may_go_on_with_another_model_and_the_settings_that_it_shares(ops: Ops) -> None:
    ops.call("spawn", name="base", model="reader", system="Tea is hot.", settings={"max_tokens": 50, "sentences": 1})
    view = ops.call("fork", session="base", new="w1", model="fake/instant")
    assert (view["model"], view["settings"]) == ("fake/instant", {"max_tokens": 50})
    assert ops.call("ask", session="w1", prompt="one")["text"] == "ok."


def test_a_fork_while_an_ask_runs_holds_what_was_there_before_it(ops: Ops) -> None:
    talk(ops, "base", "one", model="fake/hang", by="fake")
    ticket = hanging(ops, "base")
    ops.call("fork", session="base", new="w1", model="fake")
    assert said(ops, "w1") == [("user", "one"), ("assistant", "one")]
    assert ops.call("ask", session="w1", prompt="two")["text"] == "two"
    assert ops.call("poll", ticket=ticket)["state"] == "running"


def test_a_fork_of_an_empty_session_is_empty(ops: Ops) -> None:
    ops.call("spawn", name="base")
    view = ops.call("fork", session="base", new="w1")
    assert (view["messages"], view["forked_from"], view["forked_at"]) == (0, "base", None)
    assert ops.call("ask", session="w1", prompt="one")["text"] == "one"


def test_list_tells_the_lineage_in_order_of_age_also_of_a_killed_parent(ops: Ops) -> None:
    ops.call("spawn", name="a")
    ops.call("fork", session="a", new="b")
    ops.call("fork", session="b", new="c")
    ops.call("kill", sessions=["b"])
    assert [(view["name"], view["forked_from"]) for view in ops.call("list")] == [("a", None), ("c", "b")]


# ---------------------------------------------------------------- rewind


def test_a_rewound_session_goes_on_from_there_and_loses_nothing(ops: Ops) -> None:
    talk(ops, "w1", "one", "two")
    whole = [message["id"] for message in ops.call("history", session="w1")["messages"]]
    view = ops.call("rewind", session="w1", to="2")
    assert (view["messages"], view["head"]) == (2, whole[1])
    ops.call("ask", session="w1", prompt="three")
    assert [text for _, text in said(ops, "w1")] == ["one", "one", "three", "three"]
    kept = {bytes(key).hex() for (key,) in rows(ops, "SELECT id FROM messages")}
    assert kept >= set(whole)
    ops.restart()
    assert [text for _, text in said(ops, "w1")] == ["one", "one", "three", "three"]


def test_a_session_with_an_ask_under_way_is_not_rewound(ops: Ops) -> None:
    talk(ops, "w1", "one", model="fake/hang", by="fake")
    ticket = hanging(ops, "w1")
    assert refused(ops, "session_busy", "rewind", session="w1", to="1").message
    ops.call("cancel", ticket=ticket)
    assert eventually(lambda: ops.call("status", session="w1")["session"]["state"] == "idle", "idle")
    assert ops.call("rewind", session="w1", to="1")["messages"] == 1


def test_rewind_refuses_an_unknown_session(ops: Ops) -> None:
    refused(ops, "unknown_session", "rewind", session="w1", to="1")


# ---------------------------------------------------------------- history


def test_history_gives_the_last_messages_and_how_many_there_are(ops: Ops) -> None:
    talk(ops, "w1", "one", "two", "three")
    whole = ops.call("history", session="w1")
    assert (whole["session"], whole["model"], whole["forked_from"], whole["total"]) == ("w1", "fake", None, 6)
    assert [message["number"] for message in whole["messages"]] == [1, 2, 3, 4, 5, 6]
    for last in (1, 2, 5, 6, 7, 10**9):
        found = ops.call("history", session="w1", last=last)
        assert (found["total"], found["messages"]) == (6, whole["messages"][-last:])


def test_history_refuses_what_it_cannot_give(ops: Ops) -> None:
    ops.call("spawn", name="review")
    assert "'review'" in refused(ops, "unknown_session", "history", session="reveiw").message
    for last in (0, -1, 10**9 + 1, "1", 1.5, True):
        refused(ops, "invalid_argument", "history", session="review", last=last)


def test_the_total_of_a_history_counts_the_messages_that_it_was_cut_from(ops: Ops) -> None:
    """Also where an ask ends while the messages are read."""
    talk(ops, "w1", "one")
    with ops.house.first_read_held("history") as read:
        call = ops.begin("history", session="w1")
        assert read.wait(30)
        ops.call("ask", session="w1", prompt="two")
    found = call.result(30)
    assert found["total"] == len(found["messages"])


# ---------------------------------------------------------------- kill


def test_kill_cancels_the_asks_frees_the_name_and_keeps_the_journal(ops: Ops) -> None:
    talk(ops, "w1", "one", model="fake/hang", by="fake")
    running = hanging(ops, "w1")
    waiting = ops.call("ask-async", session="w1", prompt="waits")["ask"]
    ops.call("spawn", name="w2")
    assert ops.call("kill", sessions=["w1", "w1"]) == {"killed": 1, "names": ["w1"], "cancelled_asks": 2}
    assert [view["name"] for view in ops.call("list")] == ["w2"]
    assert [ops.call("poll", ticket=ticket)["state"] for ticket in (running, waiting)] == ["cancelled"] * 2
    assert [text for (text,) in rows(ops, "SELECT content FROM messages ORDER BY number")] == ["one", "one"]
    assert rows(ops, "SELECT count(*) FROM sessions WHERE name = 'w1' AND killed_at > 0") == [(1,)]
    assert ops.call("spawn", name="w1")["messages"] == 0
    assert ops.call("ask", session="w1", prompt="new")["text"] == "new"


def test_whoever_waits_for_an_ask_of_a_killed_session_is_told(ops: Ops) -> None:
    ops.call("spawn", name="w1", model="fake/hang")
    call = ops.begin("ask", session="w1", prompt="hang")
    eventually(lambda: ops.call("status")["running"] == 1, "the ask runs")
    ops.call("kill", sessions=["w1"])
    assert getattr(call.exception(30), "code", None) == "cancelled"


def test_where_one_name_is_unknown_none_is_killed(ops: Ops) -> None:
    ops.call("spawn", name="w1", model="fake/hang")
    ops.call("spawn", name="w2")
    hanging(ops, "w1")
    assert "'w2'" in refused(ops, "unknown_session", "kill", sessions=["w1", "w22", "w2"]).message
    assert ops.call("kill", sessions=[]) == {"killed": 0, "names": [], "cancelled_asks": 0}
    assert len(ops.call("list")) == 2


def test_kill_all_says_how_many_there_were(ops: Ops) -> None:
    for name in ("w1", "w2", "w3"):
        ops.call("spawn", name=name, model="fake/hang")
    hanging(ops, "w2")
    ops.restart()  # Sessions that nobody has used since are ended as well.
    hanging(ops, "w3")
    assert ops.call("kill-all") == {"killed": 3, "names": ["w1", "w2", "w3"], "cancelled_asks": 1}
    assert ops.call("list") == []
    assert ops.call("kill-all")["killed"] == 0


# ---------------------------------------------------------------- at the same moment


def test_a_session_is_killed_also_at_the_moment_that_an_ask_of_it_ends(ops: Ops) -> None:
    """The end of the ask and of the session are one commit, so the ask that waits has a task that never ran."""
    ops.call("spawn", name="w1", model="fake/hang")
    ends = hanging(ops, "w1")
    waits = ops.call("ask-async", session="w1", prompt="waits")["ask"]
    with ops.house.writer_held() as queued:
        cancel = ops.begin("cancel", ticket=ends)
        eventually(lambda: queued() == 1, "the ask's end is to be written")
        kill = ops.begin("kill", sessions=["w1"])
        eventually(lambda: queued() == 2, "the session's end is to be written")
    assert cancel.result(30)["state"] == "cancelled"
    assert kill.result(10)["killed"] == 1
    assert ops.call("poll", ticket=waits, wait_s=10)["state"] == "cancelled"
    assert ops.call("list") == []


def test_a_killed_session_stays_dead_though_somebody_was_reading_it(ops: Ops) -> None:
    ops.call("spawn", name="w1")
    ops.restart()  # Nothing of it is in memory now.
    with ops.house.first_read_held("session") as read:
        reader = ops.begin("history", session="w1")
        assert read.wait(30)
        ops.call("kill", sessions=["w1"])
    reader.exception(30)
    refused(ops, "unknown_session", "ask", session="w1", prompt="are you there?")
    assert ops.call("spawn", name="w1")["messages"] == 0


def test_a_session_that_is_used_before_its_spawn_was_answered_is_one_session(ops: Ops) -> None:
    with ops.house.first_read_held("add_session") as written:
        spawn = ops.begin("spawn", name="w1")
        assert written.wait(30)
        ops.call("ask", session="w1", prompt="one")
    spawn.result(30)
    ops.call("ask", session="w1", prompt="two")
    assert [text for _, text in said(ops, "w1")] == ["one", "one", "two", "two"]
    ops.restart()
    assert [text for _, text in said(ops, "w1")] == ["one", "one", "two", "two"]


def test_a_session_that_is_killed_before_its_spawn_was_answered_is_dead(ops: Ops) -> None:
    with ops.house.first_read_held("add_session") as written:
        spawn = ops.begin("spawn", name="w1")
        assert written.wait(30)
        ops.call("kill", sessions=["w1"])
    spawn.exception(30)
    refused(ops, "unknown_session", "ask", session="w1", prompt="are you there?")
    assert ops.call("spawn", name="w1")["messages"] == 0


def test_a_kill_whose_caller_left_is_whole_or_nothing(ops: Ops) -> None:
    talk(ops, "w1", "one")
    with ops.house.writer_held() as queued:
        kill = ops.task("kill", sessions=["w1"])
        eventually(lambda: queued() == 1, "the session's end is to be written")
        kill.cancel()
        ops.call("ping")  # Whatever the cancelling had to say has arrived before this.
    ops.call("spawn", name="w2")  # Written after whatever the kill wrote.
    if "w1" in {view["name"] for view in ops.call("list")}:
        assert ops.call("ask", session="w1", prompt="two")["text"] == "two"
    else:
        refused(ops, "unknown_session", "ask", session="w1", prompt="two")
        assert ops.call("spawn", name="w1")["messages"] == 0


def test_a_rewind_whose_caller_left_is_whole_or_nothing(ops: Ops) -> None:
    talk(ops, "w1", "one", "two")
    with ops.house.writer_held() as queued:
        rewind = ops.task("rewind", session="w1", to="2")
        eventually(lambda: queued() == 1, "the rewind is to be written")
        rewind.cancel()
        ops.call("ping")
    ops.call("spawn", name="w2")
    before = said(ops, "w1")
    ops.restart()
    assert said(ops, "w1") == before


def test_a_rewind_is_refused_where_an_ask_waits_for_another_rewind(ops: Ops) -> None:
    """Else both would be told that the session ends where they put it, and one of them would be wrong."""
    talk(ops, "w1", "one", "two", "three")
    with ops.house.writer_held() as queued:
        first = ops.begin("rewind", session="w1", to="4")
        eventually(lambda: queued() == 1, "the first rewind is to be written")
        ask = ops.begin("ask", session="w1", prompt="four")
        eventually(lambda: queued() == 2, "the ask is to be written")
        second = ops.begin("rewind", session="w1", to="2")
        eventually(lambda: second.done() or queued() == 3, "the second rewind has an answer, or is to be written")
    assert first.result(30)["messages"] == 4
    assert ask.result(30)["text"] == "four"
    assert getattr(second.exception(30), "code", None) == "session_busy"
    assert [text for _, text in said(ops, "w1")] == ["one", "one", "two", "two", "four", "four"]


def talk(ops: Ops, name: str, *prompts: str, model: str = "fake", by: str | None = None) -> None:
    """A session on `model` in which these prompts were asked, of the model `by` where that is another."""
    first = f"{name}-talk" if by else name
    ops.call("spawn", name=first, model=by or model)
    for prompt in prompts:
        ops.call("ask", session=first, prompt=prompt)
    if by:
        ops.call("fork", session=first, new=name, model=model)
        ops.call("kill", sessions=[first])


def rows(ops: Ops, query: str) -> list[tuple[object, ...]]:
    """What the file holds, asked past samovar."""
    connection = sqlite3.connect(Path(ops.house.folder) / "journal.db")
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()
