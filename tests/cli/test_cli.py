"""`samovar ...` as people type it: what each command takes and prints."""

import json
import os
import re
from pathlib import Path
from typing import Any

import pexpect
import pytest

from daemons import SAMOVAR, Place, eventually
from samovar.cli import PROCESS_COMMANDS
from samovar.ops import OPS
from samovar.version import PROTOCOL, __version__


def prompts(place: Place, session: str) -> list[str]:
    """What a session was asked."""
    return [message["content"] for message in place.json("history", session)["messages"] if message["role"] == "user"]


# ---------------------------------------------------------------- help


def test_without_a_command_an_overview_is_printed_with_exit_code_2(shared: Place) -> None:
    done = shared.run()
    assert done.code == 2
    for name in (*OPS, *PROCESS_COMMANDS):
        assert re.search(rf"^  {name} ", done.out, re.MULTILINE), name
    assert shared.run("--help") == (0, done.out, "")
    assert shared.run("-h") == (0, done.out, "")


def test_the_version_is_told_with_the_protocols(shared: Place) -> None:
    assert shared.ok("--version") == f"samovar {__version__}, protocol {PROTOCOL}\n"


@pytest.mark.parametrize("op", OPS.values(), ids=OPS)
def test_the_help_of_an_op_tells_every_argument(shared: Place, op: Any) -> None:
    out = shared.ok(op.name, "--help", env={"COLUMNS": "1000"})
    assert op.summary in out
    for param in op.params:
        assert param.doc in out, param
    for option in ("--home", "--json", "--no-start"):
        assert option in out


@pytest.mark.parametrize("command", PROCESS_COMMANDS)
def test_every_other_command_has_help(shared: Place, command: str) -> None:
    out = shared.ok(command, "--help", env={"COLUMNS": "1000"})
    assert PROCESS_COMMANDS[command] in out
    assert "--home" in out


def test_help_needs_no_daemon_and_starts_none(place: Place) -> None:
    place.ok("ask", "--help")
    place.ok("--help")
    assert not place.home.up()
    assert place.daemons() == []


# ---------------------------------------------------------------- results


def test_every_op_prints_json_where_it_is_asked_to(place: Place) -> None:
    place.up()
    spawned = place.json("spawn", "w1", "--system", "You pour tea.", "--set", "max_tokens=100")
    assert (spawned["name"], spawned["model"], spawned["state"]) == ("w1", "fake", "idle")
    assert spawned["settings"] == {"max_tokens": 100}
    asked = place.json("ask", "w1", "hello")
    assert (asked["state"], asked["session"], asked["error"]) == ("done", "w1", None)
    taken = place.json("ask-async", "w1", "again")
    polled = place.json("poll", taken["ask"], "--wait-s", "60")
    assert (polled["ask"], polled["state"]) == (taken["ask"], "done")
    assert place.json("cancel", taken["ask"])["state"] == "done"
    assert place.json("fork", "w1", "w2", "--at", "3")["forked_from"] == "w1"
    assert place.json("relay", "w1", "w2", "--note", "See:")["session"] == "w2"
    cast = place.json("broadcast", "all of you")
    assert (cast["replied"], cast["failed"]) == (2, 0)
    assert [outcome["session"] for outcome in place.json("broadcast", "you", "--sessions", "w2")["outcomes"]] == ["w2"]
    assert [view["name"] for view in place.json("list")] == ["w1", "w2"]
    assert place.json("history", "w1", "--last", "2")["total"] == 7
    assert place.json("rewind", "w1", "3")["messages"] == 3
    assert place.json("models")[0]["default"] is True
    assert {op["name"] for op in place.json("describe")["ops"]} == set(OPS)
    assert place.json("ping") == {"version": __version__, "protocol": PROTOCOL, "pid": place.pid}
    assert place.json("status", "w1")["session"]["name"] == "w1"
    assert place.json("kill", "w1")["names"] == ["w1"]
    assert place.json("kill-all")["killed"] == 1
    assert place.json("shutdown", "--grace-s", "0")["grace_s"] == 0
    place.wait_until_down()


def test_every_op_prints_text_for_people(place: Place) -> None:
    place.up()
    assert place.ok("list") == "no sessions; start one with `samovar spawn NAME`\n"
    assert place.ok("spawn", "w1") == "w1: fake, idle, 0 message(s)\n"
    reply = place.ok("ask", "w1", "hello")
    assert reply.strip()
    ticket = place.ok("ask-async", "w1", "again").strip()
    assert place.ok("poll", ticket, "--wait-s", "60").startswith(f"{ticket}  w1  done\n")
    assert place.ok("cancel", ticket).startswith(f"{ticket}  w1  done\n")
    assert place.ok("fork", "w1", "w2") == "w2: fake, idle, 4 message(s), forked from w1\n"
    assert place.ok("relay", "w1", "w2").strip()
    assert place.ok("broadcast", "all").endswith("\n2 replied, 0 failed\n")
    listed = place.ok("list").splitlines()
    assert listed[0].split() == ["SESSION", "MODEL", "STATE", "MESSAGES", "ASKS", "QUEUED", "TOKENS", "FORKED", "FROM"]
    assert [line.split()[0] for line in listed[1:]] == ["w1", "w2"]
    assert listed[2].startswith("  w2")
    assert place.ok("rewind", "w2", "2").startswith("w2: fake, idle, 2 message(s)")
    assert "fake" in place.ok("models")
    assert "kill-all" in place.ok("describe")
    assert place.ok("ping") == f"samovar {__version__}, protocol {PROTOCOL}, pid {place.pid}\n"
    assert place.ok("status", "w1").startswith(f"samovar {__version__} is up: pid {place.pid}, ")
    assert place.ok("kill", "w1") == "1 session(s) ended: w1\n"
    assert place.ok("kill-all") == "1 session(s) ended: w2\n"
    assert f"pid {place.pid}" in place.ok("shutdown")
    place.wait_until_down()


def test_options_may_stand_before_the_command_and_after_it(shared: Place) -> None:
    expected = shared.json("ping")
    for words in (
        ["--home", str(shared.root), "ping", "--json"],
        [f"--home={shared.root}", "ping", "--json"],
        ["--json", "ping"],
        ["--json", "--home", str(shared.root), "ping"],
        ["--no-start", "--home", str(shared.root), "ping", "--json"],
    ):
        assert shared.run(*words).json() == expected, words


def test_a_session_named_like_a_command_is_no_command(shared: Place) -> None:
    shared.ok("spawn", "list")
    shared.ok("spawn", "ask")
    assert shared.ok("ask", "ask", "ask").strip()
    assert prompts(shared, "ask") == ["ask"]
    shared.ok("kill", "list", "ask")


def test_history_is_markdown_or_json(shared: Place) -> None:
    shared.ok("spawn", "told", "--system", "You pour tea.")
    shared.ok("ask", "told", "# a heading\n\nand *more*")
    text = shared.ok("history", "told")
    assert text.startswith("# told (fake)\n")
    assert re.search(r"^## 1\. system · [0-9a-f]{12} · \d{4}-\d\d-\d\d \d\d:\d\d:\d\d$", text, re.MULTILINE)
    assert "# a heading\n\nand *more*" in text
    assert shared.ok("history", "told", "--format", "markdown") == text
    as_json = json.loads(shared.ok("history", "told", "--format", "json"))
    assert as_json == shared.json("history", "told")
    assert [message["role"] for message in as_json["messages"]] == ["system", "user", "assistant"]
    last = shared.ok("history", "told", "--last", "1")
    assert "The last 1 of 3 messages." in last
    assert "system" not in last


# ---------------------------------------------------------------- prompts


def test_a_prompt_is_an_argument_or_standard_input(shared: Place) -> None:
    shared.ok("spawn", "asked")
    shared.ok("ask", "asked", "чай ☕")
    shared.ok("ask", "asked", "-", stdin="from\nstandard input ☕\n".encode())
    shared.ok("ask", "asked", "-", stdin=b"\xef\xbb\xbfwith a mark")
    assert prompts(shared, "asked") == ["чай ☕", "from\nstandard input ☕\n", "with a mark"]


def test_any_text_comes_back_as_it_went_in(shared: Place) -> None:
    text = "".join(chr(code) for code in range(0x250)) + "\u2028\u202e\ufeff\U0001f375\U0010ffff"
    shared.ok("spawn", "exact")
    shared.ok("ask", "exact", "-", stdin=text.encode())
    assert prompts(shared, "exact") == [text]


def test_files_stand_before_the_prompt_each_marked_with_its_name(shared: Place, tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_text("first", "utf-8")
    (tmp_path / "two.txt").write_text("zweitens ☕", "utf-8")
    shared.ok("spawn", "filed")
    shared.ok("ask", "filed", "what?", "--file", "one.txt", "--file", "two.txt", cwd=tmp_path)
    shared.ok("ask", "filed", "--file", "one.txt", cwd=tmp_path)
    shared.ok("ask", "filed", "--file", "one.txt", "-", stdin=b"and this", cwd=tmp_path)
    one = '<document name="one.txt">\nfirst\n</document>'
    two = '<document name="two.txt">\nzweitens ☕\n</document>'
    assert prompts(shared, "filed") == [f"{one}\n\n{two}\n\nwhat?", one, f"{one}\n\nand this"]


def test_a_system_prompt_is_a_text_or_a_file(shared: Place, tmp_path: Path) -> None:
    (tmp_path / "system.md").write_text("You pour tea.\n", "utf-8")

    def system(name: str, *words: str) -> str:
        shared.ok("spawn", name, *words, cwd=tmp_path)
        return str(shared.json("history", name)["messages"][0]["content"])

    assert system("system-1", "--system", "in place") == "in place"
    assert system("system-2", "--system", "@system.md") == "You pour tea.\n"
    assert system("system-3", "--system", "@@home") == "@home"


def test_settings_are_given_as_key_and_value(shared: Place) -> None:
    view = shared.json("spawn", "set", "--set", "max_tokens=7", "--set", "temperature=0.5")
    assert view["settings"] == {"max_tokens": 7, "temperature": 0.5}


# ---------------------------------------------------------------- streams


def test_a_reply_streams_as_it_is_made(shared: Place) -> None:
    shared.ok("spawn", "stream", "--model", "fake/words:100000:0.005")
    command = shared.start("ask", "stream", "hello")
    assert command.stdout
    assert os.read(command.stdout.fileno(), 1)
    assert command.poll() is None
    assert shared.json("status", "stream")["asks"][0]["state"] == "running"
    shared.ok("kill", "stream")
    assert shared.finish(command).code == 1


def test_what_streams_is_the_reply_and_a_newline(shared: Place) -> None:
    shared.ok("spawn", "whole", "--model", "fake/words:30:0.001")
    out = shared.ok("ask", "whole", "hello")
    assert out == shared.json("history", "whole")["messages"][-1]["content"] + "\n"
    big = 3_000_000
    shared.ok("spawn", "big", "--model", f"fake/big:{big}")
    out = shared.ok("ask", "big", "hello")
    assert out == shared.json("history", "big")["messages"][-1]["content"] + "\n"
    assert len(out) >= big


def test_a_provider_that_breaks_off_is_an_error_after_the_text_that_came(shared: Place) -> None:
    shared.ok("spawn", "cut", "--model", "fake/cut:3")
    done = shared.run("ask", "cut", "hello")
    assert done.code == 1
    assert re.search(r"^error: [^\n]* \[\w+\]$", done.err.splitlines()[-1])
    assert shared.json("history", "cut")["messages"] == []


def test_a_provider_that_crashes_is_an_error_of_one_line_and_its_session_goes_on(shared: Place) -> None:
    shared.ok("spawn", "crash", "--model", "fake/crash")
    for _ in range(2):
        done = shared.run("ask", "crash", "hello")
        assert (done.code, done.out) == (1, "")
        assert re.fullmatch(r"error: [^\n]* \[\w+\]\n", done.err)
    assert shared.json("status", "crash")["session"]["state"] == "idle"


def test_a_broadcast_of_which_one_fails_exits_1_and_tells_all(shared: Place) -> None:
    shared.ok("spawn", "good")
    shared.ok("spawn", "bad", "--model", "fake/crash")
    done = shared.run("broadcast", "hello", "--sessions", "good", "bad", "nobody")
    assert done.code == 1
    assert "## good" in done.out and "## bad\n\nerror: " in done.out and "[unknown_session]" in done.out
    assert done.out.endswith("1 replied, 2 failed\n")
    done = shared.run("broadcast", "hello", "--sessions", "good", "bad", "--json")
    assert (done.code, json.loads(done.out)["failed"]) == (1, 1)


def test_a_person_sees_what_a_reply_took_and_a_pipe_does_not(shared: Place) -> None:
    shared.ok("spawn", "seen")
    child = pexpect.spawn(SAMOVAR, ["ask", "seen", "hello"], env=shared.env, encoding="utf-8", timeout=60)
    child.expect(r"fake: \d+ tokens in, \d+ out, first after .* all in ")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0
    assert shared.run("ask", "seen", "hello").err == ""


@pytest.mark.parametrize(
    "words", ["ask pipe hello", "history pipe", "eval 'for n in range(99999): print(n)'", "--help"]
)
def test_output_into_a_pipe_that_closes_is_no_traceback(shared: Place, words: str) -> None:
    if "pipe" not in [session["name"] for session in shared.json("list")]:
        shared.ok("spawn", "pipe", "--model", "fake/big:2000000")
        shared.ok("ask", "pipe", "hello")
    process = shared.launch(["/bin/sh", "-c", f"samovar {words} | head -c 10"])
    done = shared.finish(process)
    assert done.out
    assert done.err == ""


def test_ask_prints_a_reply_to_a_reader_that_comes_late(shared: Place) -> None:
    """A pipe that nobody reads for a while fills up; nothing of the reply is lost."""
    shared.ok("spawn", "slow-reader", "--model", "fake/big:3000000")
    command = shared.start("ask", "slow-reader", "hello")
    eventually(lambda: shared.json("status", "slow-reader")["session"]["asks"] == 1, "the daemon has the whole reply")
    out = shared.finish(command).out
    assert out == shared.json("history", "slow-reader")["messages"][-1]["content"] + "\n"
