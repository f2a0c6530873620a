"""The code door: a real Jupyter kernel, for Jupyter's own clients and for `samovar eval`."""

import os
import re
import select
import signal
import threading
from pathlib import Path
from typing import Any

import pexpect
import psutil
import pytest
from jupyter_client.blocking import BlockingKernelClient

from daemons import SAMOVAR, SCRIPTS, Lines, Place, eventually
from samovar.evaluate import Evaluator
from samovar.ops import OPS


def executed(jupyter: BlockingKernelClient, code: str) -> tuple[dict[str, Any], list[str]]:
    """The reply to `code`, which runs in the main shell, and the text that it brought forth."""
    texts: list[str] = []

    def take(message: dict[str, Any]) -> None:
        content = message["content"]
        if message["msg_type"] == "stream":
            texts.append(content["text"])
        elif message["msg_type"] == "execute_result":
            texts.append(content["data"]["text/plain"])

    reply = jupyter.execute_interactive(code, timeout=60, output_hook=take)
    return reply["content"], texts


def replied(jupyter: BlockingKernelClient, channel: str, message: str) -> dict[str, Any]:
    """The reply to `message`, whenever it comes."""
    while True:
        reply = getattr(jupyter, f"get_{channel}_msg")(timeout=60)
        if reply["parent_header"].get("msg_id") == message:
            return dict(reply["content"])


# ---------------------------------------------------------------- Jupyter's clients


def test_a_jupyter_client_executes_code_by_the_connection_file_alone(shared: Place) -> None:
    with shared.jupyter() as jupyter:
        jupyter.wait_for_ready(timeout=60)
        content, texts = executed(jupyter, "print('hot'); 6 * 7")
    assert content["status"] == "ok"
    assert "".join(texts).split() == ["hot", "42"]


def test_every_op_is_there_as_a_function_with_its_help(shared: Place) -> None:
    names = sorted(name.replace("-", "_") for name in OPS if name != "list")
    code = f"print([callable(globals()[name]) and bool(globals()[name].__doc__) for name in {[*names, 'list_']!r}])"
    assert shared.ok("eval", code) == f"{[True] * len(OPS)}\n"
    assert shared.ok("eval", "list((1, 2)), ping().pid") == f"([1, 2], {shared.pid})\n"


def test_ops_called_in_a_cell_are_the_daemons_own(shared: Place) -> None:
    shared.ok("eval", "spawn('cell-1'); fork('cell-1', 'cell-2'); ask('cell-2', 'hello')")
    assert shared.json("history", "cell-2")["total"] == 2
    assert shared.ok("eval", "ask('cell-2', 'again').state") == "'done'\n"
    assert shared.ok("eval", "history('cell-2').total, status(session='cell-2').session.name") == "(4, 'cell-2')\n"


def test_an_ask_in_a_cell_keeps_nobody_elses_cell_waiting(shared: Place) -> None:
    shared.ok("spawn", "blocked", "--model", "fake/hang")
    command = shared.start("eval", "ask('blocked', 'hello')")
    eventually(lambda: shared.json("status", "blocked")["session"]["state"] == "busy", "the ask runs")
    assert shared.ok("eval", "1 + 1") == "2\n"
    with shared.jupyter() as jupyter:
        assert executed(jupyter, "print('main')")[1] == ["main\n"]
    assert command.poll() is None
    (ask,) = shared.json("status", "blocked")["asks"]
    shared.ok("cancel", ask["ask"])
    done = shared.finish(command)
    assert done.code == 1
    assert "was cancelled" in done.err


def test_an_interrupt_of_a_cell_that_asks_cancels_the_ask(shared: Place) -> None:
    shared.ok("spawn", "stopped", "--model", "fake/hang")
    with shared.jupyter() as jupyter:
        jupyter.wait_for_ready(timeout=60)
        message = jupyter.execute("ask('stopped', 'hello')")
        eventually(lambda: shared.json("status", "stopped")["session"]["state"] == "busy", "the ask runs")
        jupyter.control_channel.send(jupyter.session.msg("interrupt_request", {}))
        assert replied(jupyter, "shell", message)["ename"] == "KeyboardInterrupt"
    eventually(lambda: shared.json("status", "stopped")["asks"][0]["state"] == "cancelled", "the ask is cancelled")
    assert shared.ok("eval", "1") == "1\n"


def test_a_failing_op_in_a_cell_raises_samovars_error_with_its_code(shared: Place) -> None:
    code = """
from samovar.errors import SamovarError
try:
    ask("nobody", "hello")
except SamovarError as error:
    print(type(error).__name__, error.code, error.fault, error.retryable)
"""
    assert shared.ok("eval", code) == "SamovarError unknown_session caller False\n"
    done = shared.run("eval", "ask('nobody', 'hello')")
    assert done.code == 1
    assert "there is no session 'nobody'" in done.err


def test_ops_and_evaluations_are_answered_while_a_cell_computes_in_the_main_shell(
    shared: Place, tmp_path: Path
) -> None:
    begun, enough = tmp_path / "begun", tmp_path / "enough"
    loop = f"""
import os
open({str(begun)!r}, 'w').close()
while not os.path.exists({str(enough)!r}):
    for number in range(100_000):
        number * number
"""
    shared.ok("spawn", "beside")
    with shared.jupyter() as jupyter, shared.client() as client:
        jupyter.wait_for_ready(timeout=60)
        message = jupyter.execute(loop)
        eventually(begun.exists, "the cell runs")
        for number in range(20):
            assert client.ping().pid == shared.pid
            assert client.ask("beside", f"question {number}").state == "done"
        assert shared.ok("eval", "1 + 1") == "2\n"
        enough.touch()
        assert replied(jupyter, "shell", message)["status"] == "ok"


def test_an_interrupt_request_stops_the_cell_and_not_the_daemon(shared: Place, tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    with shared.jupyter() as jupyter:
        jupyter.wait_for_ready(timeout=60)
        message = jupyter.execute(f"open({str(begun)!r}, 'w').close()\nwhile True: pass")
        eventually(begun.exists, "the cell runs")
        jupyter.control_channel.send(jupyter.session.msg("interrupt_request", {}))
        content = replied(jupyter, "shell", message)
        assert (content["status"], content["ename"]) == ("error", "KeyboardInterrupt")
        assert executed(jupyter, "1 + 1")[1] == ["2"]


def foreground(place: Place) -> int:
    """Starts a daemon in the foreground and returns its pid."""
    with (place.around / "err").open("wb") as err:
        process = place.start("up", "--foreground", stderr=err)
    eventually(place.home.connection, "the daemon is up")
    return process.pid


@pytest.mark.parametrize("how", ["foreground", "background"])
def test_an_interrupt_request_that_finds_no_cell_ends_no_daemon(place: Place, how: str) -> None:
    pid = foreground(place) if how == "foreground" else place.up()
    with place.jupyter() as jupyter:
        jupyter.wait_for_ready(timeout=60)
        for _ in range(3):
            request = jupyter.session.msg("interrupt_request", {})
            jupyter.control_channel.send(request)
            assert replied(jupyter, "control", request["msg_id"])["status"] == "ok"
        assert executed(jupyter, "1 + 1")[1] == ["2"]
    assert place.json("ping")["pid"] == pid
    assert "daemon/stopping" not in [line["event"] for line in place.log()]


def test_jupyters_shutdown_request_ends_the_daemon_the_orderly_way(place: Place) -> None:
    place.up("--grace-s", "0")
    place.ok("spawn", "w1", "--model", "fake/hang")
    ticket = place.json("ask-async", "w1", "hello")["ask"]
    with place.jupyter() as jupyter:
        jupyter.wait_for_ready(timeout=60)
        request = jupyter.shutdown()
        assert replied(jupyter, "control", request)["status"] == "ok"
    place.wait_until_down()
    assert place.leavings() == []
    cries = (Path(place.home.logs) / "daemon.out").read_text("utf-8")
    assert [line["event"] for line in place.log()][-1] == "daemon/stopped", cries
    assert place.json("poll", ticket)["state"] == "interrupted"


def test_jupyter_console_attaches_and_evaluates(shared: Place) -> None:
    command = [str(SCRIPTS / "jupyter"), "console", "--existing", str(shared.connection_file)]
    env = {**shared.env, "TERM": "xterm"}
    console = pexpect.spawn(command[0], command[1:], env=env, encoding="utf-8", timeout=60, dimensions=(40, 120))
    prompt = r"In [^\n]{0,40}\d[^\n]{0,40}\]: "  # Between its parts stand the signs of colours.
    try:
        console.expect(prompt)
        console.send("1234567 + 1\r")
        console.expect("1234568")
        console.expect(prompt)
        console.sendeof()
        console.expect(["keeping kernel alive", "Do you really want to exit", pexpect.EOF])
    finally:
        console.close(force=True)
    assert shared.ok("eval", "1") == "1\n"


def test_code_that_asks_for_input_is_refused_and_hangs_nothing(shared: Place) -> None:
    done = shared.run("eval", "input('? ')")
    assert done.code == 1
    assert "StdinNotImplementedError" in done.err


@pytest.mark.parametrize("code", ["exit()", "quit()", "import sys; sys.exit(3)", "raise SystemExit"])
def test_code_that_exits_ends_no_daemon(shared: Place, code: str) -> None:
    shared.run("eval", code)
    with shared.jupyter() as jupyter:
        jupyter.wait_for_ready(timeout=60)
        executed(jupyter, code)
        assert executed(jupyter, "1 + 1")[1] == ["2"]
    assert shared.daemons() == [shared.pid]
    assert "daemon/stopping" not in [line["event"] for line in shared.log()]


# ---------------------------------------------------------------- samovar eval


def test_eval_prints_the_value_of_the_last_expression(shared: Place) -> None:
    assert shared.ok("eval", "x = 20\nx + 1") == "21\n"
    assert shared.ok("eval", "'чай ☕'") == "'чай ☕'\n"
    assert shared.ok("eval", "None") == ""
    assert shared.ok("eval", "x = 1") == ""


def test_eval_keeps_what_code_defines_for_the_next(shared: Place) -> None:
    shared.ok("eval", "kept = {'pot': 1}")
    assert shared.ok("eval", "kept") == "{'pot': 1}\n"


def test_eval_tells_apart_what_went_to_standard_output_and_to_standard_error(shared: Place) -> None:
    done = shared.run("eval", "import sys; print('out'); print('err', file=sys.stderr); 'value'")
    assert done == (0, "out\n'value'\n", "err\n")


def test_the_output_of_eval_comes_while_the_code_runs(shared: Place, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    code = f"""
import os, time
print("first")
while not os.path.exists({str(gate)!r}):
    time.sleep(0.01)
print("second")
"""
    command = shared.start("eval", code)
    lines = Lines(command)
    assert lines.next() == "first"
    assert command.poll() is None
    gate.touch()
    assert lines.next() == "second"
    assert shared.finish(command).code == 0


def test_a_traceback_goes_to_standard_error_plain_in_a_pipe_with_exit_code_1(shared: Place) -> None:
    done = shared.run("eval", "print('before')\n1 / 0")
    assert (done.code, done.out) == (1, "before\n")
    assert "ZeroDivisionError: division by zero" in done.err
    assert "\x1b" not in done.err


def test_a_traceback_is_coloured_on_a_terminal(shared: Place) -> None:
    child = pexpect.spawn(SAMOVAR, ["eval", "1 / 0"], env={**shared.env, "TERM": "xterm"}, timeout=60)
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 1
    assert b"\x1b[" in child.before


def test_a_syntax_error_is_told_with_exit_code_1(shared: Place) -> None:
    done = shared.run("eval", "1 +")
    assert (done.code, done.out) == (1, "")
    assert "SyntaxError" in done.err


def test_eval_reads_code_from_standard_input(shared: Place) -> None:
    assert shared.ok("eval", "-", stdin="a = 'чай'\nprint(a)\na * 2\n".encode()) == "чай\n'чайчай'\n"


@pytest.mark.parametrize("code", [b"", b"\xff\xfe"], ids=["nothing", "no text"])
def test_code_that_is_none_is_refused_as_usage(shared: Place, code: bytes) -> None:
    done = shared.run("eval", "-", stdin=code)
    assert (done.code, done.out) == (2, "")
    assert re.fullmatch(r"error: [^\n]* \[\w+\]\n", done.err)


def test_two_evaluations_at_once_each_get_their_own_output_and_no_others(shared: Place) -> None:
    code = "for _ in range(200): print({!r})"
    commands = {name: shared.start("eval", code.format(name)) for name in ("one", "two", "three")}
    for name, command in commands.items():
        assert shared.finish(command) == (0, f"{name}\n" * 200, "")


def test_much_output_arrives_whole(shared: Place) -> None:
    out = shared.ok("eval", "for n in range(20_000): print(n)")
    assert out.split() == [str(n) for n in range(20_000)]


def test_what_one_evaluation_prints_is_not_seen_by_another_clients_output(shared: Place) -> None:
    with shared.jupyter() as jupyter:
        jupyter.wait_for_ready(timeout=60)
        shared.ok("eval", "print('for the other')")
        assert executed(jupyter, "print('mine')")[1] == ["mine\n"]


def test_ctrl_c_ends_an_evaluation_with_130_and_not_the_daemon(shared: Place, tmp_path: Path) -> None:
    begun, enough = tmp_path / "begun", tmp_path / "enough"
    code = f"""
import os, time
open({str(begun)!r}, 'w').close()
while not os.path.exists({str(enough)!r}):
    time.sleep(0.01)
"""
    command = shared.start("eval", code)
    eventually(begun.exists, "the code runs")
    command.send_signal(signal.SIGINT)
    done = shared.finish(command)
    enough.touch()
    assert (done.code, done.err) == (130, "interrupted\n")
    assert shared.ok("eval", "1") == "1\n"


def test_an_evaluation_whose_daemon_is_killed_exits_1_and_says_so(place: Place, tmp_path: Path) -> None:
    place.up()
    begun = tmp_path / "begun"
    command = place.start("eval", f"open({str(begun)!r}, 'w').close()\nwhile True: pass")
    eventually(begun.exists, "the code runs")
    os.kill(place.pid, signal.SIGKILL)
    done = place.finish(command)
    assert (done.code, done.out) == (1, "")
    assert re.fullmatch(r"error: [^\n]*ended while code was being evaluated[^\n]* \[daemon_gone\]\n", done.err)


def test_a_hundred_evaluations_leave_no_thread_and_no_open_file_behind(shared: Place) -> None:
    daemon = psutil.Process(shared.pid)
    for _ in range(5):
        shared.ok("eval", "1")
    threads, files = daemon.num_threads(), daemon.num_fds()
    for _ in range(100):
        with Evaluator(shared.home, start=False) as evaluator:
            assert [output.text for output in evaluator.run("1")] == ["1"]
    eventually(lambda: daemon.num_threads() <= threads + 2, "the subshells' threads have ended")
    eventually(lambda: daemon.num_fds() <= files + 10, "the subshells' sockets are closed")


def test_evaluations_at_once_each_get_their_own_value_text_and_traceback(shared: Place) -> None:
    wrong: list[Any] = []

    def evaluate(number: int) -> None:
        with Evaluator(shared.home, start=False) as evaluator:
            for turn in range(30):
                mark = f"{number}.{turn}"
                outputs = list(evaluator.run(f"print('text', '{mark}'); 'value {mark}'"))
                text = "".join(output.text for output in outputs[:-1] if output.kind == "stdout")
                if (text, outputs[-1]) != (f"text {mark}\n", ("value", f"'value {mark}'")):
                    wrong.append((mark, outputs))
                outputs = list(evaluator.run(f"raise ValueError('error {mark}')"))
                if [output.kind for output in outputs] != ["error"] or f"error {mark}" not in outputs[0].text:
                    wrong.append((mark, outputs))

    threads = [threading.Thread(target=evaluate, args=[number]) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(100)
        assert not thread.is_alive(), "an evaluation hangs"
    assert wrong == []


def test_output_into_a_closed_pipe_is_no_traceback(shared: Place) -> None:
    command = shared.start("eval", "for n in range(100_000): print(n)")
    lines = Lines(command)
    assert lines.next() == "0"
    assert command.stdout and command.stderr
    command.stdout.close()
    assert select.select([command.stderr], [], [], 60)[0]
    err = command.stderr.read().decode()
    assert command.wait(60) != 0
    assert "Traceback" not in err
