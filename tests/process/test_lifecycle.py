"""The life of a daemon's process: how it starts, that there is one a home, how it ends, and that nothing is left."""

import json
import os
import re
import shutil
import signal
import stat
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pexpect
import psutil
import pytest

from daemons import FAKE, SAMOVAR, Lines, Place, Places, eventually
from samovar import Client, SamovarError
from samovar.connection import Connection
from samovar.ops import OPS

COMMAND_LINES = {
    "ask": ["w1", "hello"],
    "ask-async": ["w1", "hello"],
    "broadcast": ["hello"],
    "cancel": ["00000000000-00000000"],
    "fork": ["w1", "w2"],
    "history": ["w1"],
    "kill": ["w1"],
    "poll": ["00000000000-00000000"],
    "relay": ["w1", "w2"],
    "rewind": ["w1", "1"],
    "spawn": ["w1"],
}
"""What an op's command needs beside its name; the others need nothing."""


def gone(place: Place) -> None:
    """Asserts that a daemon has ended, with nothing left in its run folder and nothing cried out."""
    place.wait_until_down()
    assert place.leavings() == []
    assert place.holders() == []
    cries = Path(place.home.logs) / "daemon.out"
    assert not cries.exists() or "Traceback" not in cries.read_text("utf-8"), cries.read_text("utf-8")


# ---------------------------------------------------------------- up and down


def test_up_starts_a_daemon_and_says_its_pid_and_its_home(place: Place) -> None:
    out = place.ok("up")
    assert out == f"the daemon is up: pid {place.pid}, home {place.root}\n"
    assert place.daemons() == [place.pid]
    assert place.json("status")["pid"] == place.pid


def test_up_again_says_that_it_is_up_already_and_starts_no_other(place: Place) -> None:
    first = place.up()
    done = place.run("up")
    assert (done.code, done.out) == (0, f"the daemon is up already: pid {first}, home {place.root}\n")
    assert place.daemons() == [first]


def test_down_ends_the_daemon_and_leaves_neither_process_nor_file(place: Place) -> None:
    pid = place.up()
    assert place.leavings() != []
    assert place.ok("down") == f"the daemon has ended: pid {pid}\n"
    gone(place)


def test_every_end_is_in_the_log_to_its_last_line(place: Place) -> None:
    for _ in range(6):
        place.up()
        place.down()
        gone(place)
        assert [line["event"] for line in place.log()][-2:] == ["daemon/stopping", "daemon/stopped"]


def test_down_where_no_daemon_is_up_says_so_and_succeeds(place: Place) -> None:
    done = place.run("down")
    assert (done.code, done.out) == (0, f"no daemon is up in {place.root}\n")
    assert place.daemons() == []


def test_a_restart_keeps_every_session_and_its_history(place: Place) -> None:
    first = place.up()
    place.ok("spawn", "base", "--system", "You pour tea.")
    place.ok("ask", "base", "one")
    place.ok("fork", "base", "w1")
    place.ok("ask", "w1", "two")
    place.ok("rewind", "base", "1")
    sessions = place.json("list")
    histories = {name: place.json("history", name) for name in ("base", "w1")}
    place.ok("restart")
    assert place.pid != first
    assert place.json("list") == sessions
    assert {name: place.json("history", name) for name in ("base", "w1")} == histories
    assert [message["content"] for message in histories["w1"]["messages"]][1::2] == ["one", "two"]
    place.ok("ask", "w1", "three")
    assert place.json("history", "w1")["total"] == histories["w1"]["total"] + 2


def test_restart_starts_a_daemon_where_none_is_up(place: Place) -> None:
    place.ok("restart")
    assert place.daemons() == [place.pid]


@pytest.mark.parametrize("command", ["status", "shutdown"])
def test_an_op_about_the_daemon_exits_3_without_one_and_starts_none(place: Place, command: str) -> None:
    done = place.run(command)
    assert (done.code, done.out) == (3, "")
    assert done.err == f"error: no daemon is up in {place.root}; start one with `samovar up` [no_daemon]\n"
    assert place.daemons() == []
    assert not place.run_folder.exists()


@pytest.mark.parametrize("words", [["spawn", "w1"], ["list"], ["eval", "1"]], ids=lambda words: words[0])
def test_any_command_that_needs_a_daemon_starts_it(place: Place, words: list[str]) -> None:
    place.ok(*words)
    assert place.daemons() == [place.pid]


def test_with_no_start_every_op_exits_3_and_starts_none(place: Place) -> None:
    for op in OPS:
        done = place.run(op, *COMMAND_LINES.get(op, []), "--no-start")
        assert (done.code, done.out) == (3, ""), op
        assert done.err.endswith("[no_daemon]\n"), op
    assert place.run("eval", "1", "--no-start").code == 3
    assert place.daemons() == []


def test_twenty_clients_at_once_start_exactly_one_daemon(place: Place) -> None:
    commands = [place.start("ping", "--json") for _ in range(20)]
    pids = {place.finish(command).json()["pid"] for command in commands}
    assert pids == {place.pid}
    assert place.daemons() == [place.pid]
    assert place.holders() == [place.pid]
    assert [line["event"] for line in place.log()].count("daemon/up") == 1


def test_commands_that_start_and_end_daemons_at_once_leave_one_daemon_or_none_and_no_traceback(place: Place) -> None:
    for _ in range(4):
        words = [["ping"], ["up"], ["down"], ["list"], ["restart"], ["down"], ["ping"], ["up"]]
        for done in [place.finish(command) for command in [place.start(*each) for each in words]]:
            assert done.code in (0, 1, 3), done
            assert "Traceback" not in done.err, done
            # None of them hangs, so none has to be killed or given up.
            assert not re.search("killed|may hang", done.err), done
        eventually(lambda: len(place.daemons()) <= 1, "the others have ended")
    pid = place.json("ping")["pid"]
    assert place.daemons() == [pid]
    place.down()
    gone(place)


def test_several_commands_that_end_the_daemon_at_once_all_succeed(place: Place) -> None:
    for _ in range(3):
        pid = place.up()
        for done in [place.finish(command) for command in [place.start("down") for _ in range(5)]]:
            assert (done.code, done.err) == (0, ""), done
            assert done.out in (f"the daemon has ended: pid {pid}\n", f"no daemon is up in {place.root}\n")
        gone(place)


WAITS_AT_THE_GATE = """
import os, time, samovar.client
close = samovar.client.Client.close
def late(self):
    close(self)
    while not os.path.exists(os.environ["GATE"]):
        time.sleep(0.01)
samovar.client.Client.close = late
"""
"""The same program; it goes on from where it has closed its connection when it is let."""


def test_down_waits_for_the_daemon_that_it_ends_and_leaves_the_next_one_alone(place: Place, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(WAITS_AT_THE_GATE)
    gate = tmp_path / "gate"
    first = place.up()
    command = place.start("down", env={"PYTHONPATH": str(tmp_path), "GATE": str(gate)})
    eventually(lambda: not place.home.up(), "the first daemon has ended")
    second = place.up()
    gate.touch()
    assert place.finish(command) == (0, f"the daemon has ended: pid {first}\n", "")
    assert place.daemons() == [second]


def test_a_daemon_that_is_told_to_end_while_it_starts_ends(place: Place) -> None:
    for moment in range(12):
        command = place.start("up")
        eventually(place.daemons, "a daemon starts")
        time.sleep(0.04 * moment)  # Through all that a start is made of, however long each part takes here.
        for pid in place.daemons():
            os.kill(pid, signal.SIGTERM)
        done = place.finish(command)
        assert done.code in (0, 3)
        assert "Traceback" not in done.err
        place.wait_until_down()
    place.up()


# ---------------------------------------------------------------- after a crash


def test_what_a_killed_daemon_left_is_seen_to_be_stale_and_cleared_by_the_next(place: Place) -> None:
    place.up()
    place.ok("spawn", "w1")
    killed = place.kill9()
    left = place.leavings()
    assert "connection.json" in left and "ops" in left

    done = place.run("status")
    assert done.code == 3
    assert "killed daemon left its files" in done.err
    assert place.ok("down") == f"no daemon is up in {place.root}\n"

    assert [session["name"] for session in place.json("list")] == ["w1"]
    assert place.pid != killed
    place.down()
    gone(place)


def test_asks_that_a_crash_interrupted_are_told_by_poll_status_and_log_and_their_sessions_go_on(place: Place) -> None:
    place.up()
    place.ok("spawn", "w1", "--model", "fake/hang")
    tickets = [place.json("ask-async", "w1", prompt)["ask"] for prompt in ("runs", "waits")]
    place.kill9()
    place.up()
    told = place.json("status")["interrupted"]
    assert sorted(view["ask"] for view in told) == sorted(tickets)
    for ticket in tickets:
        polled = place.json("poll", ticket)
        assert polled["state"] == "interrupted"
        # As after a shutdown: the reason is told, and what to do next.
        assert polled["error"]["code"] == "interrupted"
    logged = [line["ask"] for line in place.log() if line["event"] == "ask/interrupted"]
    assert sorted(logged) == sorted(tickets)
    assert place.json("status", "w1")["session"]["state"] == "idle"
    place.ok("fork", "w1", "w2", "--model", "fake")
    place.ok("ask", "w2", "again")


@pytest.mark.parametrize("rubbish", [b"", b"{", b"[1, 2]", b"\xff\xfe", b'{"pid": 1}'])
def test_a_connection_file_of_rubbish_with_no_daemon_behind_it_is_replaced(place: Place, rubbish: bytes) -> None:
    place.run_folder.mkdir(mode=0o700)
    place.connection_file.write_bytes(rubbish)
    assert place.json("list") == []
    place.down()
    gone(place)


def test_restart_helps_where_a_living_daemons_connection_file_is_rubbish_as_its_message_says(place: Place) -> None:
    first = place.up()
    place.connection_file.write_text("{ rubbish")
    done = place.run("list")
    assert done.code == 3
    assert "samovar restart" in done.err
    place.ok("restart")
    assert place.daemons() == [place.pid]
    assert place.pid != first


def test_files_in_the_run_folder_that_are_not_a_daemons_are_left_alone(place: Place) -> None:
    place.run_folder.mkdir(mode=0o700)
    (place.run_folder / "notes.txt").write_text("mine")
    place.up()
    place.down()
    assert place.leavings() == ["notes.txt"]


# ---------------------------------------------------------------- in the foreground


@pytest.fixture
def terminal(place: Place) -> Iterator[Any]:
    """`samovar up --foreground` in a terminal of its own, ready."""
    child = pexpect.spawn(
        SAMOVAR, ["up", "--foreground"], env=place.env, cwd=str(place.around), encoding="utf-8", timeout=60
    )
    child.expect("daemon/up")
    yield child
    child.close(force=True)


def ended_cleanly(child: Any) -> None:
    child.expect(pexpect.EOF)
    child.wait()
    assert (child.exitstatus, child.signalstatus) == (0, None), child.before


def test_a_foreground_daemon_is_the_process_that_was_started_and_logs_text_a_person_reads(
    place: Place, terminal: Any
) -> None:
    assert place.daemons() == [terminal.pid] == [place.pid]
    place.ok("spawn", "w1")
    terminal.expect(r"(\d\d:\d\d:\d\d\.\d\d\d) +info +session/spawned +session=w1 model=fake")
    assert "{" not in terminal.before


def test_a_foreground_daemon_ends_on_sigterm_and_leaves_nothing(place: Place, terminal: Any) -> None:
    os.kill(terminal.pid, signal.SIGTERM)
    ended_cleanly(terminal)
    gone(place)


def test_a_foreground_daemon_ends_on_ctrl_c_and_leaves_nothing(place: Place, terminal: Any) -> None:
    terminal.sendintr()
    ended_cleanly(terminal)
    assert "Traceback" not in terminal.before
    gone(place)


def test_up_in_the_foreground_fails_where_a_daemon_is_up_already(place: Place) -> None:
    pid = place.up()
    done = place.run("up", "--foreground")
    assert done.code == 1
    assert f"pid {pid}" in done.out
    assert place.daemons() == [pid]


def test_a_background_daemon_is_not_ended_by_the_ctrl_c_of_the_terminal_that_started_it(place: Place) -> None:
    pid = place.up()
    os.kill(pid, signal.SIGINT)
    os.kill(pid, signal.SIGHUP)
    assert place.json("ping")["pid"] == pid
    assert os.getpgid(pid) != os.getpgid(0)


# ---------------------------------------------------------------- shutting down


def running(client: Client) -> int:
    return client.status().running


class Asker(threading.Thread):
    """Asks, and keeps what came of it."""

    def __init__(self, client: Client, session: str, prompt: str = "hello") -> None:
        super().__init__(daemon=True)
        self.text: str | None = None
        self.code: str | None = None
        self._ask = lambda: client.ask(session, prompt)
        self.start()

    def run(self) -> None:
        try:
            self.text = self._ask().text
        except SamovarError as error:
            self.code = error.code

    def end(self) -> "Asker":
        self.join(60)
        assert not self.is_alive()
        return self


def test_a_running_ask_that_ends_within_the_grace_is_done_and_answered(place: Place) -> None:
    place.up()
    with place.client() as client:
        client.spawn("w1", model="fake/words:100:0.02")
        asker = Asker(client, "w1")
        eventually(lambda: running(client) == 1, "the ask runs")
        client.shutdown(grace_s=60)
        asker.end()
    assert asker.text is not None and len(asker.text.split()) == 100
    gone(place)
    assert place.json("history", "w1")["messages"][-1]["content"] == asker.text


def test_asks_that_outlast_the_grace_and_asks_that_wait_are_interrupted_and_their_askers_told(place: Place) -> None:
    place.up()
    with place.client() as client:
        client.spawn("w1", model="fake/hang")
        asker = Asker(client, "w1", "the one that runs")
        eventually(lambda: running(client) == 1, "the ask runs")
        waiting = Asker(client, "w1", "the one that waits")
        ticket = client.ask_async("w1", "another that waits").ask
        eventually(lambda: client.status().queued == 2, "two asks wait")
        assert client.shutdown(grace_s=0.2).running == 1
        assert (asker.end().code, waiting.end().code) == ("interrupted", "interrupted")
    gone(place)
    place.up()
    polled = place.json("poll", ticket)
    assert (polled["state"], polled["error"]["code"]) == ("interrupted", "interrupted")
    status = place.json("status", "w1")
    assert [ask["state"] for ask in status["asks"]] == ["interrupted"] * 3
    assert status["session"]["state"] == "idle"
    assert place.json("history", "w1")["messages"] == []


def test_the_command_that_asked_when_the_daemon_went_down_exits_1_with_the_reason(place: Place) -> None:
    place.up()
    place.ok("spawn", "w1", "--model", "fake/hang")
    command = place.start("ask", "w1", "hello")
    eventually(lambda: place.json("status")["running"] == 1, "the ask runs")
    place.down("--grace-s", "0")
    done = place.finish(command)
    assert (done.code, done.out) == (1, "")
    assert re.fullmatch(r"error: .*\[interrupted\]\n", done.err)


def test_an_answer_that_comes_right_before_the_connections_end_is_not_lost(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client looks for frames, then for the end of the connection; both may have come in between."""
    place.up()
    ending, watching = threading.Event(), threading.Event()
    watch = Connection._watch

    def watch_late(self: Connection) -> None:
        if ending.is_set():
            watching.set()
            self._monitor.poll(30_000)  # Until the end has come, and the answer before it.
        watch(self)

    monkeypatch.setattr(Connection, "_watch", watch_late)
    with place.client() as client:
        client.spawn("w1", model="fake/hang")
        asker = Asker(client, "w1")
        eventually(lambda: place.json("status")["running"] == 1, "the ask runs")
        ending.set()
        assert watching.wait(60)
        place.down("--grace-s", "0")
        assert asker.end().code == "interrupted"


def test_a_daemon_that_is_ending_refuses_new_asks_and_still_answers_reads(place: Place) -> None:
    place.up()
    with place.client() as client:
        client.spawn("w1", model="fake/hang")
        client.spawn("w2")
        ticket = client.ask_async("w1", "hello").ask
        eventually(lambda: running(client) == 1, "the ask runs")
        client.shutdown(grace_s=60)
        for refused in (
            lambda: client.ask("w2", "hello"),
            lambda: client.ask_async("w2", "hello"),
            lambda: client.spawn("w3"),
            lambda: client.fork("w2", "w3"),
        ):
            with pytest.raises(SamovarError) as told:
                refused()
            assert (told.value.code, told.value.retryable) == ("shutting_down", True)
        assert [session.name for session in client.list()] == ["w1", "w2"]
        assert client.poll(ticket).state == "running"
        client.cancel(ticket)
    gone(place)


def test_a_command_given_while_the_daemon_is_ending_is_served_by_the_next_one(place: Place) -> None:
    first = place.up()
    with place.client() as client:
        client.spawn("w1", model="fake/hang")
        ticket = client.ask_async("w1", "hello").ask
        eventually(lambda: running(client) == 1, "the ask runs")
        client.shutdown(grace_s=60)
        eventually(lambda: not place.connection_file.exists(), "the daemon takes no new clients")
        command = place.start("ping", "--json")
        waits = psutil.Process(command.pid)
        # It has found that it must wait once it looks again and again.
        eventually(lambda: waits.num_ctx_switches().voluntary > 30, "the command waits")
        client.cancel(ticket)
    assert place.finish(command).json()["pid"] != first


def test_sigterm_ends_the_daemon_and_gives_running_asks_the_grace_of_its_config(places: Places) -> None:
    place = places(config=FAKE + "grace_s: 0.1\n")
    pid = place.up()
    with place.client() as client:
        client.spawn("w1", model="fake/hang")
        asker = Asker(client, "w1")
        eventually(lambda: running(client) == 1, "the ask runs")
        os.kill(pid, signal.SIGTERM)
        assert asker.end().code == "interrupted"
    gone(place)


CELLS = {
    "computes for ever": "while True: pass",
    "computes for ever and catches what would end it": """
while True:
    try:
        while True: pass
    except BaseException:
        pass
""",
    "sleeps for ever": "import time\nwhile True: time.sleep(1)",
}


@pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS)
@pytest.mark.parametrize("by", ["sigterm", "down"])
def test_a_cell_that_does_not_end_in_the_main_thread_does_not_keep_the_daemon_from_ending(
    place: Place, tmp_path: Path, cell: str, by: str
) -> None:
    pid = place.up()
    begun = tmp_path / "begun"
    with place.jupyter() as jupyter:
        jupyter.execute(f"open({str(begun)!r}, 'w').close()\n{cell}")
        eventually(begun.exists, "the cell runs")
        if by == "down":
            place.down()
        else:
            os.kill(pid, signal.SIGTERM)
        gone(place)


def test_a_cell_that_never_ends_in_a_subshell_does_not_keep_the_daemon_from_ending(
    place: Place, tmp_path: Path
) -> None:
    place.up()
    begun = tmp_path / "begun"
    command = place.start("eval", f"open({str(begun)!r}, 'w').close()\nwhile True: pass")
    eventually(begun.exists, "the cell runs")
    place.down()
    gone(place)
    done = place.finish(command)
    assert done.code != 0
    assert "Traceback" not in done.err


@pytest.mark.parametrize(
    "how",
    [
        "import os, time\nchild = os.fork()\nif child == 0:\n    time.sleep(100000)\nprint(child)",
        "import subprocess\nprint(subprocess.Popen(['sleep', '100000']).pid)",
    ],
    ids=["forked", "started"],
)
def test_a_child_process_that_a_cell_left_behind_does_not_hold_the_home(place: Place, how: str) -> None:
    first = place.up()
    command = place.start("eval", how)
    child = int(Lines(command).next())
    try:
        assert psutil.pid_exists(child) and child != first
        place.finish(command)
        place.down()
        assert not place.home.up()
        assert place.leavings() == []
        assert psutil.pid_exists(child)
        assert place.up() != first
    finally:
        os.kill(child, signal.SIGKILL)


def test_a_forked_child_does_not_hold_the_home_of_a_daemon_that_was_killed(place: Place) -> None:
    place.up()
    code = "import os, time\nchild = os.fork()\nif child == 0:\n    time.sleep(100000)\nprint(child)"
    child = int(Lines(place.start("eval", code)).next())
    try:
        os.kill(place.pid, signal.SIGKILL)
        eventually(lambda: not place.home.up(), "the home is let go of")
        place.up()
    finally:
        os.kill(child, signal.SIGKILL)


# ---------------------------------------------------------------- which home


def told_home(place: Place, *words: str, cwd: Path, env: dict[str, str] | None = None) -> str:
    """The home that a command would have asked; no daemon is up in any."""
    place.env.pop("SAMOVAR_HOME", None)
    done = place.run("status", *words, cwd=cwd, env=env)
    assert done.code == 3
    found = re.match(r"error: no daemon is up in (.*); start one", done.err)
    assert found, done
    return found[1]


def test_a_home_is_the_one_given_then_the_variables_then_the_nearest_config_then_the_users_state(
    places: Places,
) -> None:
    nearest, elsewhere = places("project"), places("elsewhere")
    below = nearest.root / "a" / "b"
    below.mkdir(parents=True)
    given, variable = nearest.around / "given", {"SAMOVAR_HOME": str(nearest.around / "variable")}

    assert told_home(nearest, "--home", str(given), cwd=below, env=variable) == str(given)
    assert told_home(nearest, cwd=below, env=variable) == variable["SAMOVAR_HOME"]
    assert told_home(nearest, cwd=below) == str(nearest.root)
    assert told_home(nearest, cwd=elsewhere.root) == str(elsewhere.root)
    assert told_home(nearest, cwd=nearest.around) == str(nearest.around / "state" / "samovar")
    bare = {"XDG_STATE_HOME": ""}
    expected = nearest.around / "user" / ".local" / "state" / "samovar"
    assert told_home(nearest, cwd=nearest.around, env=bare) == str(expected)


def test_the_home_may_be_named_before_the_command_or_after_it_and_be_relative(place: Place) -> None:
    assert told_home(place, "--home", "x", cwd=place.around) == str(place.around / "x")
    done = place.run("--home", "x", "status")
    assert f"no daemon is up in {place.around / 'x'};" in done.err
    done = place.run("--home=x", "status")
    assert f"no daemon is up in {place.around / 'x'};" in done.err
    done = place.run("--json", "--home", "x", "status")
    assert f"no daemon is up in {place.around / 'x'};" in done.err


def test_a_folder_that_can_not_be_a_home_is_refused_in_a_sentence(place: Place) -> None:
    (place.around / "file").write_text("")
    done = place.run("list", "--home", str(place.around / "file"))
    assert done.code in (2, 3)
    assert re.fullmatch(r"error: .*file.* \[\w+\]\n", done.err)


@pytest.mark.parametrize(
    "name",
    [
        "x" * 60 + "/" + "y" * 60 + "/" + "z" * 60,
        "with spaces and 'quotes'",
        "чай-☕-ü",
        "-dash",
        "50%25",
        "{x}",
        "what?",
        "a#b&c;$HOME",
    ],
    ids=["over 150 bytes", "spaces", "unicode", "dash", "percent", "braces", "question mark", "signs"],
)
def test_a_home_may_be_anywhere(places: Places, name: str) -> None:
    """Whatever its path, the daemon's two doors work and nothing is left, inside or outside."""
    place = places(name)
    sockets = Path(place.home.sockets)
    place.up()
    place.ok("spawn", "w1")
    assert place.ok("ask", "w1", "hello")
    assert place.ok("eval", "1 + 1") == "2\n"
    place.kill9()
    place.up()
    assert stat.S_IMODE(sockets.stat().st_mode) == 0o700
    assert "ops" in os.listdir(sockets)
    place.down()
    gone(place)
    if len(os.fsencode(place.root)) > 150:
        assert sockets != place.run_folder
        assert not sockets.exists()
    else:
        assert sockets == place.run_folder


def test_two_homes_have_two_daemons_and_neither_sees_the_others_sessions(places: Places) -> None:
    one, two = places("one"), places("two")
    one.ok("spawn", "w1")
    two.ok("spawn", "w2")
    assert one.pid != two.pid
    assert [session["name"] for session in one.json("list")] == ["w1"]
    assert [session["name"] for session in two.json("list")] == ["w2"]
    one.down()
    assert [session["name"] for session in two.json("list", "--no-start")] == ["w2"]


# ---------------------------------------------------------------- who may enter


def test_only_the_user_can_enter_the_run_folder_and_read_the_connection_file(place: Place) -> None:
    place.env["SHELL"] = "/bin/sh"
    place.launch(["/bin/sh", "-c", "umask 0000; exec samovar up"]).wait(60)
    for path, mode in ((place.run_folder, 0o700), (place.connection_file, 0o600)):
        found = path.stat()
        assert (stat.S_IMODE(found.st_mode), found.st_uid) == (mode, os.getuid())
    assert stat.S_IMODE(Path(place.home.sessions).stat().st_mode) == 0o700


def refused_run_folder(place: Place) -> str:
    done = place.run("up")
    assert (done.code, done.out) == (3, "")
    assert re.fullmatch(r"error: [^\n]* \[home_unusable\]\n", done.err), done
    assert place.daemons() == []
    return done.err


def test_a_run_folder_that_others_can_enter_is_refused_with_the_command_that_closes_it(place: Place) -> None:
    place.run_folder.mkdir()
    place.run_folder.chmod(0o755)
    assert f"chmod 700 {place.run_folder} [" in refused_run_folder(place)
    place.run_folder.chmod(0o700)
    place.up()


def test_a_run_folder_that_is_a_link_is_refused(place: Place) -> None:
    elsewhere = place.around / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    place.run_folder.symlink_to(elsewhere)
    assert str(place.run_folder) in refused_run_folder(place)
    assert os.listdir(elsewhere) == []


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder away")
def test_a_run_folder_of_another_user_is_refused(place: Place) -> None:
    place.run_folder.mkdir(mode=0o700)
    os.chown(place.run_folder, 65534, 65534)
    assert "belongs to user 65534" in refused_run_folder(place)


def test_a_folder_for_the_sockets_of_a_long_path_that_others_can_enter_is_refused(places: Places) -> None:
    place = places("x" * 60 + "/" + "y" * 60)
    sockets = Path(place.home.sockets)
    assert sockets != place.run_folder
    sockets.mkdir()
    sockets.chmod(0o777)
    assert f"chmod 700 {sockets} [" in refused_run_folder(place)
    assert os.listdir(sockets) == []


# ---------------------------------------------------------------- what is missing


@pytest.mark.parametrize("module", ["ipykernel", "pydantic", "sqlalchemy", "loguru", "alembic", "yaml"])
def test_without_the_daemons_extra_a_command_exits_3_and_says_what_to_install(place: Place, module: str) -> None:
    blocker = place.around / "blocker"
    blocker.mkdir()
    (blocker / "sitecustomize.py").write_text(
        f"""
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == {module!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Blocker())
"""
    )
    done = place.run("up", env={"PYTHONPATH": str(blocker)})
    assert (done.code, done.out) == (3, "")
    assert "[missing_extra]" in done.err
    assert "pip install 'samovar[daemon]'" in done.err
    assert module in done.err
    assert "Traceback" not in done.err
    place.wait_until_down()
    assert not place.run_folder.exists() or place.leavings() == []


def test_logs_are_told_in_lines_a_person_reads_and_as_json_where_wanted(place: Place) -> None:
    place.up()
    place.ok("spawn", "w1")
    place.down()
    text = place.ok("logs")
    assert re.search(
        r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d info +session/spawned +session=w1 model=fake$", text, re.MULTILINE
    )
    lines = [json.loads(line) for line in place.ok("logs", "--json", "-n", "1000").splitlines()]
    assert lines == place.log()
    assert lines[-1]["event"] == "daemon/stopped"
    assert len(place.ok("logs", "-n", "1").splitlines()) == 1


def test_logs_with_follow_shows_what_comes_and_goes_on_after_a_rotation(place: Place) -> None:
    place.up()
    command = place.start("logs", "-f", "-n", "1")
    lines = Lines(command)
    assert "daemon/up" in lines.next()
    place.ok("spawn", "w1")
    assert "session=w1" in lines.next()
    log = Path(place.home.logs) / "agent-communication.log"
    log.rename(log.with_suffix(".1"))
    log.write_text('{"at": 0, "level": "info", "event": "new/file"}\n')
    assert "new/file" in lines.next()
    command.send_signal(signal.SIGINT)
    assert place.finish(command).code == 130


def test_the_daemon_takes_its_modules_from_nowhere_near_the_caller(place: Place) -> None:
    trap = place.around / "trap"
    trap.mkdir()
    for name in ("json.py", "zmq.py", "samovard.py", "samovar.py", "loguru.py"):
        (trap / name).write_text("raise RuntimeError('taken from the folder that the command was typed in')")
    assert place.run("list", "--json", cwd=trap).json() == []


def test_a_daemon_needs_nothing_of_the_folder_that_it_was_started_from(place: Place) -> None:
    folder = place.around / "passing"
    folder.mkdir()
    place.run("up", cwd=folder)
    shutil.rmtree(folder)
    assert place.ok("eval", "1 + 1") == "2\n"
    assert sys.version.split()[0] in place.ok("eval", "import sys; print(sys.version)")
