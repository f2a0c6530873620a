"""What is wrong is told in one line, `error: MESSAGE [code]`, with the right exit code, and changes nothing."""

import json
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from daemons import FAKE, Done, Place, Places, eventually
from samovar import SamovarError
from samovar.ops import OPS

MIB = 1024 * 1024


@pytest.fixture(scope="module", autouse=True)
def sessions(shared: Place) -> None:
    """Two sessions that no test of this module changes."""
    shared.ok("spawn", "base", "--system", "You pour tea.")
    shared.ok("ask", "base", "hello")
    shared.ok("spawn", "silent")


def state(place: Place) -> Any:
    """All that an op could change."""
    with place.client() as client:
        views = client.call("list")
        return views, [client.call("history", session=view["name"]) for view in views]


@pytest.fixture
def unchanged(shared: Place) -> Iterator[Place]:
    """The shared home; what a test does to it is to change nothing."""
    before = state(shared)
    yield shared
    assert state(shared) == before


def told(done: Done, exit_code: int, code: str) -> str:
    """The message of an error that was told as all of them are to be."""
    assert (done.code, done.out) == (exit_code, ""), done
    found = re.fullmatch(r"error: ([^\n]+) \[(\w+)\]\n", done.err)
    assert found, done.err
    assert found[2] == code, done.err
    return found[1]


# ---------------------------------------------------------------- names


@pytest.mark.parametrize(
    "words",
    [
        ("ask", "bsae", "hello"),
        ("ask-async", "bsae", "hello"),
        ("history", "bsae"),
        ("status", "bsae"),
        ("fork", "bsae", "new"),
        ("kill", "bsae"),
        ("rewind", "bsae", "1"),
        ("relay", "bsae", "silent"),
        ("relay", "base", "bsae"),
    ],
    ids=" ".join,
)
def test_an_unknown_session_is_told_with_the_nearest_name(unchanged: Place, words: tuple[str, ...]) -> None:
    message = told(unchanged.run(*words), 1, "unknown_session")
    assert "'bsae'" in message
    assert "Did you mean 'base'?" in message


def test_an_unknown_session_like_no_other_is_told_with_how_to_list_them(unchanged: Place) -> None:
    assert "`samovar list`" in told(unchanged.run("ask", "qqqqqqqq", "hello"), 1, "unknown_session")


def test_killing_several_of_which_one_is_unknown_kills_none(unchanged: Place) -> None:
    told(unchanged.run("kill", "base", "nobody", "silent"), 1, "unknown_session")


@pytest.mark.parametrize("words", [("spawn", "base"), ("fork", "silent", "base")], ids=" ".join)
def test_a_name_in_use_is_refused(unchanged: Place, words: tuple[str, ...]) -> None:
    message = told(unchanged.run(*words), 1, "name_in_use")
    assert "'base'" in message
    assert "samovar kill base" in message


@pytest.mark.parametrize(
    "name",
    [" ", "a b", "a/b", "../x", ".x", "é", "☕", "x" * 65, "w1\n", "a\x1b[31mb", "w1\ninjected: line", "'", "$(id)"],
    ids=ascii,
)
def test_a_name_that_no_session_may_have_is_refused_with_what_it_may_be(unchanged: Place, name: str) -> None:
    for words in (("spawn", name), ("fork", "base", name)):
        message = told(unchanged.run(*words), 1, "invalid_name")
        assert "1 to 64 letters" in message
        assert "\x1b" not in message


def test_a_name_that_begins_with_a_dash_is_refused(unchanged: Place) -> None:
    told(unchanged.run("spawn", "--", "-x"), 1, "invalid_name")


def test_an_empty_name_is_refused(unchanged: Place) -> None:
    told(unchanged.run("spawn", ""), 1, "invalid_name")
    told(unchanged.run("ask", "", "hello"), 1, "unknown_session")


# ---------------------------------------------------------------- prompts


@pytest.mark.parametrize("prompt", [" ", "\n\t \n", "\u3000\u2003"], ids=ascii)
def test_a_prompt_of_white_space_is_refused(unchanged: Place, prompt: str) -> None:
    for words in (("ask", "base"), ("ask-async", "base"), ("broadcast",)):
        told(unchanged.run(*words, prompt), 1, "empty_prompt")


@pytest.mark.parametrize("words", [(), ("",), ("-",)], ids=["none", "empty", "empty standard input"])
def test_no_prompt_at_all_is_a_fault_of_usage(unchanged: Place, words: tuple[str, ...]) -> None:
    assert "--file" in told(unchanged.run("ask", "base", *words), 2, "usage")


def test_an_empty_file_alone_is_an_empty_prompt(unchanged: Place, tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("")
    done = unchanged.run("ask", "base", "-", stdin=b"\xef\xbb\xbf")
    assert done.code in (1, 2)
    assert done.err.startswith("error: ")


def test_a_prompt_of_16_mib_is_taken_and_one_byte_more_is_refused(shared: Place) -> None:
    shared.ok("spawn", "large", "--model", "fake/instant")
    shared.ok("ask", "large", "-", stdin=b"x" * 16 * MIB)
    before = shared.json("list")
    for op in ("ask", "ask-async"):
        message = told(shared.run(op, "large", "-", stdin=b"x" * (16 * MIB + 1)), 1, "prompt_too_large")
        assert "16,777,217 bytes" in message and "16,777,216" in message
    assert shared.json("list") == before
    shared.ok("kill", "large")


def test_the_limit_of_a_prompt_is_counted_in_bytes(unchanged: Place) -> None:
    message = told(unchanged.run("ask", "base", "-", stdin="☕".encode() * 6 * MIB), 1, "prompt_too_large")
    assert "18,874,368 bytes" in message


def test_a_prompt_that_fits_no_frame_is_refused_before_it_is_sent(unchanged: Place) -> None:
    told(unchanged.run("ask", "base", "-", stdin=b"x" * 129 * MIB), 2, "usage")


def test_a_system_prompt_that_is_too_large_is_refused(unchanged: Place, tmp_path: Path) -> None:
    (tmp_path / "system").write_bytes(b"x" * (16 * MIB + 1))
    told(unchanged.run("spawn", "new", "--system", f"@{tmp_path / 'system'}"), 1, "prompt_too_large")


def test_an_argument_that_is_no_text_is_refused(unchanged: Place) -> None:
    told(unchanged.run("ask", "base", os.fsdecode(b"\xff\xfe")), 2, "usage")


def test_a_lone_surrogate_in_a_prompt_is_refused_by_the_daemon(unchanged: Place) -> None:
    """JSON can spell one; the command line can't, but other clients can."""
    with unchanged.client() as client, pytest.raises(SamovarError) as error:
        client.ask("base", "\ud800")
    assert error.value.code in ("usage", "invalid_argument", "malformed_request")


# ---------------------------------------------------------------- ops and arguments


def test_an_unknown_command_is_told_with_the_nearest(unchanged: Place) -> None:
    assert "Did you mean 'spawn'?" in told(unchanged.run("spwan", "x"), 2, "unknown_op")
    assert "--help" in told(unchanged.run("qqqq"), 2, "unknown_op")


def test_an_unknown_op_is_told_by_the_daemon_with_the_nearest(unchanged: Place) -> None:
    with unchanged.client() as client, pytest.raises(SamovarError) as error:
        client.call("spwan", name="x")
    assert (error.value.code, error.value.fault) == ("unknown_op", "caller")
    assert "Did you mean 'spawn'?" in error.value.message


@pytest.mark.parametrize(
    "words",
    [
        ("spawn", "new", "--modle", "fake"),
        ("spawn", "new", "--mod", "fake"),
        ("ask", "base", "hello", "--wait"),
        ("list", "--verbose"),
        ("list", "extra"),
        ("fork", "base"),
        ("spawn",),
        ("kill",),
        ("history", "base", "--format", "xml"),
        ("spawn", "new", "--model"),
        ("up", "--port", "1"),
        ("down", "--grace-s", "soon"),
        ("logs", "-n", "many"),
        ("eval",),
    ],
    ids=" ".join,
)
def test_an_argument_that_is_unknown_missing_or_misspelled_exits_2_and_is_told_as_every_error(
    unchanged: Place, words: tuple[str, ...]
) -> None:
    done = unchanged.run(*words)
    assert (done.code, done.out) == (2, "")
    assert "Traceback" not in done.err
    last = done.err.splitlines()[-1]
    assert re.fullmatch(r"error: .+ \[\w+\]", last), done.err


def test_a_misspelled_argument_is_told_with_the_nearest(unchanged: Place) -> None:
    with unchanged.client() as client, pytest.raises(SamovarError) as error:
        client.call("ask", session="base", promt="hello")
    assert error.value.code == "invalid_argument"
    assert "'promt'" in error.value.message and "Did you mean 'prompt'?" in error.value.message
    done = unchanged.run("spawn", "new", "--modle", "fake")
    assert done.code == 2
    assert "--modle" in done.err


def test_a_missing_argument_is_told_by_the_daemon(unchanged: Place) -> None:
    with unchanged.client() as client, pytest.raises(SamovarError) as error:
        client.call("ask", session="base")
    assert error.value.code == "invalid_argument"
    assert "needs the argument 'prompt'" in error.value.message


@pytest.mark.parametrize(
    ("op", "args"),
    [
        ("ask", {"session": 1, "prompt": "x"}),
        ("ask", {"session": "base", "prompt": None}),
        ("ask", {"session": ["base"], "prompt": "x"}),
        ("kill", {"sessions": "base"}),
        ("kill", {"sessions": ["base", 1]}),
        ("history", {"session": "base", "last": "2"}),
        ("history", {"session": "base", "last": 0}),
        ("history", {"session": "base", "last": True}),
        ("poll", {"ticket": "x", "wait_s": -1}),
        ("poll", {"ticket": "x", "wait_s": 1e9}),
        ("poll", {"ticket": "x", "wait_s": "1"}),
        ("spawn", {"name": "new", "settings": "x"}),
        ("spawn", {"name": "new", "system": 3}),
        ("spawn", {"name": {}}),
        ("shutdown", {"grace_s": -1}),
    ],
    ids=str,
)
def test_an_argument_of_the_wrong_type_or_range_is_refused_by_the_daemon(
    unchanged: Place, op: str, args: dict[str, Any]
) -> None:
    with unchanged.client() as client, pytest.raises(SamovarError) as error:
        client.call(op, **args)
    assert (error.value.code, error.value.fault) == ("invalid_argument", "caller")
    assert f"op '{op}'" in error.value.message


@pytest.mark.parametrize("value", ["soon", "", "1,5", "nan", "-1", "inf", "1e9"])
def test_a_number_that_is_none_or_out_of_range_is_refused(unchanged: Place, value: str) -> None:
    ticket = unchanged.json("status", "base")["asks"][0]["ask"]
    done = unchanged.run("poll", ticket, f"--wait-s={value}")
    assert done.code in (1, 2), done
    assert re.fullmatch(r"error: [^\n]* \[(usage|invalid_argument)\]\n", done.err), done


@pytest.mark.parametrize("last", ["x", "0", "-3", "1.5", "nan"])
def test_a_count_that_is_none_is_refused(unchanged: Place, last: str) -> None:
    done = unchanged.run("history", "base", f"--last={last}")
    assert done.code in (1, 2)
    assert re.fullmatch(r"error: [^\n]* \[(usage|invalid_argument)\]\n", done.err), done


@pytest.mark.parametrize(
    ("setting", "exit_code", "code", "says"),
    [
        ("max_tokens=many", 1, "invalid_argument", "max_tokens"),
        ("max_tokens=0", 1, "invalid_argument", "max_tokens"),
        ("max_token=10", 1, "invalid_argument", "Did you mean 'max_tokens'?"),
        ("qqqq=1", 1, "invalid_argument", "temperature"),
        ("temperature=NaN", 1, "invalid_argument", "temperature"),
        ("max_tokens", 2, "usage", "KEY=VALUE"),
        ("=3", 2, "usage", "KEY=VALUE"),
    ],
)
def test_a_setting_that_is_none_is_refused(
    unchanged: Place, setting: str, exit_code: int, code: str, says: str
) -> None:
    assert says in told(unchanged.run("spawn", "new", "--set", setting), exit_code, code)


def test_an_unknown_model_is_told_with_the_nearest(unchanged: Place) -> None:
    assert "Did you mean 'fake'?" in told(unchanged.run("spawn", "new", "--model", "fkae"), 1, "unknown_model")
    told(unchanged.run("fork", "base", "new", "--model", "qqqqqq"), 1, "unknown_model")


def test_a_model_of_a_later_release_is_told_apart_from_a_misspelling(unchanged: Place) -> None:
    message = told(unchanged.run("spawn", "new", "--model", "haiku"), 1, "model_unavailable")
    assert "claude" in message and "not speak yet" in message


def test_a_message_that_the_history_lacks_is_refused(unchanged: Place) -> None:
    for reference in ("99", "0", "-1", "abc", "ffffffff", "", "1.0"):
        for words in (("fork", "base", "new", f"--at={reference}"), ("rewind", "--", "base", reference)):
            if reference or words[0] == "rewind":
                told(unchanged.run(*words), 1, "unknown_message")


def test_a_session_without_a_reply_can_not_be_relayed(unchanged: Place) -> None:
    told(unchanged.run("relay", "silent", "base"), 1, "no_reply")


def test_an_unknown_ticket_is_refused(unchanged: Place) -> None:
    for op in ("poll", "cancel"):
        told(unchanged.run(op, "nonsense"), 1, "unknown_ticket")


def test_a_session_that_is_busy_is_not_rewound(shared: Place) -> None:
    shared.ok("spawn", "busy", "--model", "fake/hang")
    ticket = shared.json("ask-async", "busy", "hello")["ask"]
    told(shared.run("rewind", "busy", "1"), 1, "session_busy")
    shared.ok("cancel", ticket)
    shared.ok("kill", "busy")


# ---------------------------------------------------------------- files


def test_a_file_that_is_not_there_is_told_by_its_name(unchanged: Place) -> None:
    for words in (("ask", "base", "--file", "nowhere.txt"), ("spawn", "new", "--system", "@nowhere.txt")):
        message = told(unchanged.run(*words), 2, "file_unreadable")
        assert "'nowhere.txt'" in message and "No such file" in message


def test_a_folder_in_a_files_place_is_told(unchanged: Place, tmp_path: Path) -> None:
    told(unchanged.run("ask", "base", "--file", str(tmp_path)), 2, "file_unreadable")


def test_a_file_that_is_not_utf_8_is_told_with_the_byte(unchanged: Place, tmp_path: Path) -> None:
    file = tmp_path / "latin.txt"
    file.write_bytes(b"caf\xe9")
    for words in (("ask", "base", "--file", str(file)), ("relay", "base", "silent", "--note", f"@{file}")):
        message = told(unchanged.run(*words), 2, "file_not_utf8")
        assert str(file) in message and "0xe9 at 3" in message


def test_standard_input_that_is_not_utf_8_is_told_with_the_byte(unchanged: Place) -> None:
    message = told(unchanged.run("ask", "base", "-", stdin=b"ok \xff"), 2, "file_not_utf8")
    assert "0xff at 3" in message


# ---------------------------------------------------------------- samovar.yaml


@pytest.mark.parametrize(
    ("config", "line", "says"),
    [
        (
            "grace_s: 3\ndefault_modle: fake\n",
            2,
            "'default_modle': there is no such key. Did you mean 'default_model'?",
        ),
        ("\n\nqqqq: 1\n", 3, "'qqqq': there is no such key"),
        ("log_level: info\ngrace_s: soon\n", 2, "'grace_s'"),
        ("grace_s: -1\n", 1, "'grace_s'"),
        ("log_level: loud\n", 1, "'log_level'"),
        ("log_content: 'yes'\n", 1, "'log_content'"),
        ("backends:\n  one: 'a:B'\n  two: 3\n", 3, "'backends.two'"),
        ("default_model: fake\nbackends: [fake\n", 3, "not YAML"),
        ("default_model: fake\n\tgrace_s: 1\n", 2, "not YAML"),
        ("- a\n- b\n", 1, "`key: value`"),
        ("just words\n", 1, "`key: value`"),
        ("1: 2\n", 1, "'1'"),
        ("? [a, b]\n: 2\n", 1, ""),
    ],
    ids=ascii,
)
def test_a_config_that_is_wrong_is_told_with_its_file_line_and_key(
    places: Places, config: str, line: int, says: str
) -> None:
    place = places(config=config)
    for command in ("up", "list"):
        message = told(place.run(command), 3, "invalid_config")
        assert f"{place.root}/samovar.yaml, line {line}" in message
        assert says in message
    assert place.daemons() == []
    assert not place.home.up()


def test_a_config_that_is_no_text_is_told(places: Places) -> None:
    place = places()
    (place.root / "samovar.yaml").write_bytes(b"default_model: \xff\n")
    assert f"{place.root}/samovar.yaml" in told(place.run("up"), 3, "invalid_config")


def test_a_config_that_is_wrong_in_the_foreground_is_told_in_the_same_line(places: Places) -> None:
    place = places(config="qqqq: 1\n")
    done = place.run("up", "--foreground")
    assert done.code in (1, 3)
    assert re.fullmatch(r"error: [^\n]*line 1, key 'qqqq'[^\n]* \[invalid_config\]\n", done.err), done


def test_an_empty_config_is_a_whole_one(places: Places) -> None:
    place = places(config="# nothing\n")
    assert place.json("list") == []


def test_a_default_model_that_is_not_there_is_told_when_it_is_needed(places: Places) -> None:
    place = places(config=FAKE.replace("default_model: fake", "default_model: fkae"))
    told(place.run("spawn", "w1"), 1, "unknown_model")
    place.ok("spawn", "w1", "--model", "fake")


BROKEN = {
    "no module": None,
    "no class": "",
    "syntax": "class Broken(:",
    "raises when imported": "raise RuntimeError('no luck')",
    "raises when made": "class Broken:\n    def __init__(self): raise RuntimeError('no luck')",
    "needs an argument": "class Broken:\n    def __init__(self, key): pass",
}


@pytest.mark.parametrize("source", BROKEN.values(), ids=BROKEN)
def test_a_backend_of_the_config_that_can_not_be_loaded_is_told_and_hurts_no_other(
    places: Places, source: str | None
) -> None:
    place = places(config=FAKE.replace("}", ', bad: "broken_backend:Broken"}'))
    modules = place.around / "modules"
    modules.mkdir()
    if source is not None:
        (modules / "broken_backend.py").write_text(source)
    place.env["PYTHONPATH"] = str(modules)
    message = told(place.run("spawn", "w1", "--model", "bad"), 1, "invalid_config")
    assert "'bad'" in message and "broken_backend:Broken" in message
    place.ok("spawn", "w1")
    place.ok("ask", "w1", "hello")
    assert "fake" in {model["backend"] for model in place.json("models")}


# ---------------------------------------------------------------- daemons that do not answer


PATCHES = """
import samovar.wire, samovar.connection, samovar.process
samovar.wire.HEARTBEAT_MS, samovar.wire.HEARTBEAT_TIMEOUT_MS = 100, 1000
samovar.connection.CONNECT_TIMEOUT_S = samovar.process._HANG_S = 1.0
"""
"""The same program, less patient."""


@pytest.fixture
def impatient(places: Places) -> Place:
    """A home whose commands wait for a daemon's sign of life for 1 s, not for 20."""
    place = places()
    modules = place.around / "impatient"
    modules.mkdir()
    (modules / "sitecustomize.py").write_text(PATCHES)
    place.up()
    place.env["PYTHONPATH"] = str(modules)
    return place


def asked(place: Place) -> Any:
    """A command that asks and whose ask runs."""
    place.ok("spawn", "w1", "--model", "fake/hang")
    command = place.start("ask", "w1", "hello")
    eventually(lambda: place.json("status")["running"] == 1, "the ask runs")
    return command


def test_a_daemon_that_is_killed_in_the_middle_of_an_ask_is_told(place: Place) -> None:
    place.up()
    command = asked(place)
    pid = place.kill9()
    message = told(place.finish(command), 1, "daemon_gone")
    assert str(pid) in message and "samovar status" in message
    place.up()
    status = place.json("status", "w1")
    (ask,) = status["asks"]
    assert ask["state"] == "interrupted"
    assert [view["ask"] for view in status["interrupted"]] == [ask["ask"]]


def test_a_daemon_that_is_stopped_in_the_middle_of_an_ask_is_told_within_the_heartbeat(impatient: Place) -> None:
    command = asked(impatient)
    os.kill(impatient.pid, signal.SIGSTOP)
    try:
        told(impatient.finish(command), 1, "daemon_gone")
    finally:
        os.kill(impatient.pid, signal.SIGCONT)
    assert impatient.json("ping")["pid"] == impatient.pid


@pytest.mark.parametrize("words", [("list",), ("ask", "w1", "hello"), ("eval", "1"), ("status",)], ids=" ".join)
def test_a_daemon_that_is_stopped_takes_no_connection_and_that_is_told(
    impatient: Place, words: tuple[str, ...]
) -> None:
    os.kill(impatient.pid, signal.SIGSTOP)
    try:
        done = impatient.run(*words)
        assert (done.code, done.out) == (3, "")
        assert re.fullmatch(r"error: [^\n]* \[(no_daemon|connection_refused)\]\n", done.err), done
        assert "samovar restart" in done.err
    finally:
        os.kill(impatient.pid, signal.SIGCONT)


def test_restart_helps_where_a_daemon_is_stopped_as_its_message_says(impatient: Place) -> None:
    impatient.ok("spawn", "w1")
    first = impatient.pid
    os.kill(first, signal.SIGSTOP)
    done = impatient.run("restart")
    assert done.code == 0, done
    assert impatient.pid != first
    assert [session["name"] for session in impatient.json("list")] == ["w1"]


def test_an_evaluation_in_a_daemon_that_is_stopped_ends_with_an_error(impatient: Place, tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    command = impatient.start("eval", f"import time\nopen({str(begun)!r}, 'w').close()\ntime.sleep(100000)")
    eventually(begun.exists, "the code runs")
    os.kill(impatient.pid, signal.SIGSTOP)
    try:
        done = impatient.finish(command)
        assert done.code == 1
        assert "Traceback" not in done.err
    finally:
        os.kill(impatient.pid, signal.SIGCONT)


def test_a_daemon_of_another_protocol_is_told(shared: Place) -> None:
    modules = shared.around / "newer"
    modules.mkdir(exist_ok=True)
    (modules / "sitecustomize.py").write_text("import samovar.version\nsamovar.version.PROTOCOL = 99\n")
    done = shared.run("ping", env={"PYTHONPATH": str(modules)})
    assert "samovar/99" in told(done, 1, "protocol_mismatch")


# ---------------------------------------------------------------- Ctrl-C


@pytest.mark.parametrize("options", [(), ("--json",)], ids=["streaming", "json"])
def test_ctrl_c_cancels_the_ask_and_exits_130(shared: Place, options: tuple[str, ...]) -> None:
    name = f"ctrl-c{len(options)}"
    shared.ok("spawn", name, "--model", "fake/hang")
    command = shared.start("ask", name, "hello", *options)
    eventually(lambda: shared.json("status", name)["session"]["state"] == "busy", "the ask runs")
    command.send_signal(signal.SIGINT)
    assert shared.finish(command) == (130, "", "interrupted\n")
    (ask,) = shared.json("status", name)["asks"]
    assert shared.json("poll", ask["ask"])["state"] == "cancelled"
    assert shared.json("status", name)["session"]["state"] == "idle"
    assert shared.json("history", name)["messages"] == []


def test_ctrl_c_cancels_an_ask_that_waits_behind_another(shared: Place) -> None:
    shared.ok("spawn", "line", "--model", "fake/hang")
    first = shared.json("ask-async", "line", "first")["ask"]
    command = shared.start("ask", "line", "second")
    eventually(lambda: shared.json("status", "line")["session"]["queued"] == 1, "the second ask waits")
    command.send_signal(signal.SIGINT)
    assert shared.finish(command).code == 130
    assert [ask["state"] for ask in shared.json("status", "line")["asks"]] == ["cancelled", "running"]
    shared.ok("cancel", first)


def test_ctrl_c_cancels_every_ask_of_a_broadcast(shared: Place) -> None:
    for name in ("cast-1", "cast-2"):
        shared.ok("spawn", name, "--model", "fake/hang")
    command = shared.start("broadcast", "hello", "--sessions", "cast-1", "cast-2")
    for name in ("cast-1", "cast-2"):
        eventually(lambda name=name: shared.json("status", name)["session"]["state"] == "busy", "the asks run")
    command.send_signal(signal.SIGINT)
    assert shared.finish(command).code == 130
    for name in ("cast-1", "cast-2"):
        assert shared.json("status", name)["asks"][0]["state"] == "cancelled"


TELLS_THAT_IT_WAITS = """
import os, samovar.client
wait = samovar.client.Client._wait
def telling(self, pending):
    open(os.environ["WAITS"], "w").close()
    wait(self, pending)
samovar.client.Client._wait = telling
"""
"""The same program; it says when it waits for an answer."""


def test_ctrl_c_while_polling_leaves_the_ask_alone(shared: Place, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(TELLS_THAT_IT_WAITS)
    env = {"PYTHONPATH": str(tmp_path), "WAITS": str(tmp_path / "waits")}
    shared.ok("spawn", "polled", "--model", "fake/hang")
    ticket = shared.json("ask-async", "polled", "hello")["ask"]
    command = shared.start("poll", ticket, "--wait-s", "600", env=env)
    eventually((tmp_path / "waits").exists, "the command waits")
    command.send_signal(signal.SIGINT)
    assert shared.finish(command) == (130, "", "interrupted\n")
    assert shared.json("poll", ticket)["state"] == "running"
    shared.ok("cancel", ticket)


def test_a_client_that_is_killed_in_the_middle_of_an_ask_costs_the_daemon_nothing(shared: Place) -> None:
    shared.ok("spawn", "orphan", "--model", "fake/words:20:0.01")
    command = shared.start("ask", "orphan", "hello")
    eventually(lambda: shared.json("status", "orphan")["asks"], "the ask is taken")
    command.kill()
    command.wait()
    eventually(lambda: shared.json("status", "orphan")["session"]["state"] == "idle", "the ask has ended")
    shared.ok("ask", "orphan", "again")


# ---------------------------------------------------------------- where the output goes


def test_output_that_has_no_room_is_an_error_and_no_traceback(shared: Place) -> None:
    with open("/dev/full", "wb") as full:
        for words in (("list",), ("history", "base"), ("ask", "silent", "hello"), ("--help",)):
            done = shared.run(*words, stdout=full)
            assert done.code == 1, (words, done)
            assert re.fullmatch(r"error: [^\n]*No space left on device[^\n]* \[\w+\]\n", done.err), (words, done)


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("command", ["list", "ping --json", "eval 1", "ask nobody -", "nonsense"])
def test_a_closed_stream_is_no_traceback(unchanged: Place, closed: str, command: str) -> None:
    process = unchanged.launch(["/bin/sh", "-c", f"exec samovar {command} {closed}"])
    assert "Traceback" not in unchanged.finish(process).err


def test_logs_where_none_were_written_are_told_to_be_none(place: Place) -> None:
    assert str(place.home.logs) in told(place.run("logs"), 1, "no_log")


def test_a_folder_that_is_gone_under_the_command_is_no_traceback(places: Places) -> None:
    place = places()
    place.env.pop("SAMOVAR_HOME")
    lost = place.around / "lost"
    lost.mkdir()
    process = place.launch(["/bin/sh", "-c", "rmdir ../lost; exec samovar status"], cwd=lost)
    done = place.finish(process)
    assert done.code in (2, 3)
    assert "Traceback" not in done.err


def test_every_op_with_rubbish_tells_no_traceback(unchanged: Place) -> None:
    for op in OPS.values():
        if op.name in ("shutdown", "kill-all", "broadcast"):
            continue
        words = ["☕'\"\\" for param in op.params if param.required]
        done = unchanged.run(op.name, *words)
        assert done.code in (0, 1, 2), op.name
        assert "Traceback" not in done.err, op.name


def test_the_log_has_no_crash_of_all_this(shared: Place) -> None:
    """Whatever was wrong, was foreseen: nothing ended in the registry's last resort."""
    crashes = [line for line in shared.log() if line["event"] in ("op/crashed", "ask/crashed", "daemon/failed")]
    assert crashes == [], json.dumps(crashes, indent=1)
