"""A user's own tasks.py of two lines: every op as an Invoke task, and the daemon's commands."""

import json
import re
from collections.abc import Iterator

import pytest

from daemons import INVOKE, Done, Place, Places, making_places
from samovar.ops import OPS

TASKS = "from samovar.invoke_tasks import mount\nns = mount()\n"


class Tasks:
    """`invoke` in a folder that has the two lines."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.folder = place.around / "mine"
        self.folder.mkdir()
        (self.folder / "tasks.py").write_text(TASKS)

    def run(self, *words: str, stdin: bytes = b"") -> Done:
        return self.place.finish(self.place.launch([INVOKE, *words], cwd=self.folder, stdin=-1), stdin)

    def ok(self, *words: str, stdin: bytes = b"") -> str:
        done = self.run(*words, stdin=stdin)
        assert done.code == 0, done
        return done.out

    def fails(self, *words: str, code: int = 1) -> str:
        done = self.run(*words)
        assert (done.code, done.out) == (code, ""), done
        assert re.fullmatch(r"error: [^\n]* \[\w+\]\n", done.err), done
        return done.err


@pytest.fixture
def tasks(places: Places) -> Tasks:
    """The tasks on a home of their own, with no daemon yet."""
    return Tasks(places())


@pytest.fixture(scope="module")
def warm() -> Iterator[Tasks]:
    """The tasks on a home whose daemon is up for the module."""
    with making_places() as make:
        place = make()
        place.up()
        yield Tasks(place)


def test_two_lines_mount_every_op_that_is_about_sessions_for_each_backend(warm: Tasks) -> None:
    listed = warm.ok("--list")
    for backend in ("claude", "reader", "ollama", "gemini", "vllm"):
        for op in set(OPS) - {"ping", "shutdown", "describe", "models"}:
            assert re.search(rf"^  {backend}\.{op} ", listed, re.MULTILINE), (backend, op)
    for command in ("up", "down", "restart", "logs", "status", "ping", "shutdown", "describe", "models"):
        assert re.search(rf"^  daemon\.{command} ", listed, re.MULTILINE), command


def test_the_help_of_a_task_tells_its_arguments(warm: Tasks) -> None:
    out = warm.ok("--help", "reader.spawn")
    assert OPS["spawn"].summary[:40] in out
    for option in ("--name", "--model", "--system", "--set", "--json", "--home"):
        assert option in out


def test_spawn_takes_the_backend_it_stands_under_for_its_model(warm: Tasks) -> None:
    assert warm.ok("reader.spawn", "of-reader") == "of-reader: reader, idle, 0 message(s)\n"
    assert warm.ok("reader.spawn", "of-fake", "--model", "fake/instant").startswith("of-fake: fake/instant, idle")


def test_a_session_is_spawned_asked_forked_and_killed_by_tasks(warm: Tasks) -> None:
    warm.ok("reader.spawn", "t1", "--model", "fake", "--system", "You pour tea.", "--set", "max_tokens=50")
    assert warm.ok("reader.ask", "t1", "hello").strip()
    assert warm.ok("reader.fork", "t1", "t2").endswith("3 message(s), forked from t1\n")
    assert "t2" in warm.ok("reader.list")
    assert warm.ok("reader.status", "--session", "t1").startswith("samovar ")
    assert "You pour tea." in warm.ok("reader.history", "t1")
    assert warm.ok("reader.relay", "t1", "t2", "--note", "See:").strip()
    assert warm.ok("reader.rewind", "t2", "3").startswith("t2: fake, idle, 3 message(s)")
    assert warm.ok("reader.broadcast", "hello", "--sessions", "t1,t2").endswith("2 replied, 0 failed\n")
    assert warm.ok("reader.kill", "t1,t2") == "2 session(s) ended: t1 t2\n"


def test_an_ask_in_the_background_is_polled_and_cancelled_by_tasks(warm: Tasks) -> None:
    warm.ok("reader.spawn", "later", "--model", "fake")
    ticket = warm.ok("reader.ask-async", "later", "hello").strip()
    assert warm.ok("reader.poll", ticket, "--wait-s", "60").startswith(f"{ticket}  later  done\n")
    assert warm.ok("reader.cancel", ticket).startswith(f"{ticket}  later  done\n")


def test_code_is_evaluated_by_a_task(warm: Tasks) -> None:
    assert warm.ok("reader.eval", "6 * 7") == "42\n"
    assert warm.ok("reader.eval", "-", stdin=b"print('from standard input')") == "from standard input\n"
    done = warm.run("reader.eval", "1 / 0")
    assert (done.code, done.out) == (1, "")
    assert "ZeroDivisionError" in done.err
    assert done.err.count("Traceback") == 1


def test_a_prompt_comes_from_standard_input_and_from_files(warm: Tasks) -> None:
    (warm.folder / "one.txt").write_text("first")
    warm.ok("reader.spawn", "piped", "--model", "fake")
    warm.ok("reader.ask", "piped", "-", stdin=b"from standard input")
    warm.ok("reader.ask", "piped", "what?", "--file", "one.txt")
    messages = json.loads(warm.ok("reader.history", "piped", "--json"))["messages"]
    prompts = [message["content"] for message in messages if message["role"] == "user"]
    assert prompts == ["from standard input", '<document name="one.txt">\nfirst\n</document>\n\nwhat?']


def test_a_result_is_json_where_it_is_asked_for(warm: Tasks) -> None:
    assert json.loads(warm.ok("daemon.ping", "--json"))["pid"] == warm.place.pid
    assert isinstance(json.loads(warm.ok("reader.list", "--json")), list)
    assert json.loads(warm.ok("daemon.status", "--json"))["home"] == str(warm.place.root)


def test_several_tasks_run_in_a_row(warm: Tasks) -> None:
    out = warm.ok("reader.spawn", "row", "--model", "fake/instant", "reader.ask", "row", "hello", "reader.kill", "row")
    assert out.startswith("row: fake/instant, idle")
    assert out.endswith("1 session(s) ended: row\n")


def test_a_task_that_fails_tells_why_in_a_line_and_exits_with_the_codes_of_the_command_line(warm: Tasks) -> None:
    assert "[unknown_session]" in warm.fails("reader.ask", "nobody", "hello")
    assert "[file_unreadable]" in warm.fails("reader.ask", "nobody", "hello", "--file", "nowhere", code=2)
    assert "[invalid_name]" in warm.fails("reader.spawn", "a b")


def test_a_failing_task_keeps_the_ones_after_it_from_running(warm: Tasks) -> None:
    warm.fails("reader.ask", "nobody", "hello", "reader.spawn", "not-made")
    assert "not-made" not in warm.ok("reader.list")


def test_a_backend_of_a_later_release_is_told_to_come_with_exit_code_1(warm: Tasks) -> None:
    err = warm.fails("claude.spawn", "w1", "--model", "haiku")
    assert "claude" in err and "not speak yet" in err and "[model_unavailable]" in err
    for backend in ("claude", "ollama", "gemini", "vllm"):
        assert "[model_unavailable]" in warm.fails(f"{backend}.spawn", "w1")
    assert "w1" not in [view["name"] for view in warm.place.json("list")]


def test_a_misspelled_argument_exits_2_or_1_and_is_no_traceback(warm: Tasks) -> None:
    for words in (("reader.spawn", "x", "--modle", "fake"), ("reader.fork", "x"), ("reader.spwan", "x")):
        done = warm.run(*words)
        assert done.code in (1, 2), words
        assert "Traceback" not in done.err, words


def test_kill_all_ends_every_session(tasks: Tasks) -> None:
    for name in ("a", "b", "c"):
        tasks.place.ok("spawn", name)
    assert tasks.ok("reader.kill-all") == "3 session(s) ended: a b c\n"
    assert tasks.place.json("list") == []


def test_the_daemon_is_brought_up_looked_at_and_ended_by_tasks(tasks: Tasks) -> None:
    assert "[no_daemon]" in tasks.fails("daemon.status", code=3)
    assert tasks.place.daemons() == []
    assert tasks.ok("daemon.up") == f"the daemon is up: pid {tasks.place.pid}, home {tasks.place.root}\n"
    assert f"pid {tasks.place.pid}" in tasks.ok("daemon.status")
    assert "daemon/up" in tasks.ok("daemon.logs", "--lines", "5")
    first = tasks.place.pid
    tasks.ok("daemon.restart")
    assert tasks.place.pid != first
    tasks.ok("daemon.down")
    tasks.place.wait_until_down()
    assert tasks.place.leavings() == []


def test_a_task_starts_the_daemon_that_it_needs(tasks: Tasks) -> None:
    tasks.ok("reader.spawn", "w1")
    assert tasks.place.daemons() == [tasks.place.pid]


def test_another_home_may_be_named(tasks: Tasks) -> None:
    other = tasks.place.around / "other"
    tasks.place.up()
    assert "no daemon is up" in tasks.fails("daemon.status", "--home", str(other), code=3)
