"""The commands that are about the daemon's process: up, down, restart, logs, eval, demo."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import time
from typing import Any, TextIO

from .cli import FAILED, OK, PROCESS_COMMANDS, _Parsers, _tell, parsed
from .errors import DaemonGone, NoDaemon, SamovarError
from .home import Home

_HANG_S = 15.0
"""How long beyond its grace a daemon may take to end before `down` ends it."""

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
"""IPython colours its tracebacks; a pipe wants them plain."""


def run(command: str, argv: list[str]) -> int:
    """Runs one of the commands and returns its exit code."""
    parser = _Parsers.plain(command, PROCESS_COMMANDS[command])
    if command in ("up", "restart"):
        parser.add_argument("--tcp", action="store_true", help="listen on loopback TCP, with CurveZMQ on every channel")
    if command == "up":
        parser.add_argument("--foreground", action="store_true", help="stay in this terminal, for a service manager")
    if command in ("up", "down", "restart"):
        parser.add_argument("--grace-s", type=float, help="how many seconds running asks may take to end at a shutdown")
    if command == "logs":
        parser.add_argument("-f", "--follow", action="store_true", help="go on with what comes")
        parser.add_argument("-n", "--lines", type=int, default=50, help="how many of the last lines")
        parser.add_argument("--json", action="store_true", help="as the log has them")
    if command == "eval":
        parser.add_argument("code", help="Python, or - for standard input")
        parser.add_argument("--no-start", action="store_true", help="fail with 3 where no daemon is up")
    if command == "demo":
        parser.add_argument("files", nargs="*", metavar="FILE", help="what the base session reads")
        parser.add_argument("--svg", metavar="FILE", help="save a picture of the demo")
    options = parsed(parser, argv)
    return int(globals()[f"_{command}"](Home.find(options.home), options))


def _up(home: Home, options: Any) -> int:
    if options.foreground:
        return _up_foreground(home, options)
    if home.start(*_daemon_options(options)):
        print(f"the daemon is up: pid {home.reach(start=False)['pid']}, home {home.root}")
    else:
        print(f"the daemon is up already: pid {home.reach(start=False)['pid']}, home {home.root}")
    return OK


def _daemon_options(options: Any) -> list[str]:
    tcp = ["--tcp"] if getattr(options, "tcp", False) else []
    return tcp + (["--grace-s", str(options.grace_s)] if options.grace_s is not None else [])


def _up_foreground(home: Home, options: Any) -> int:
    """Becomes the daemon, so that a service manager watches the right process."""
    if home.up():
        print(f"the daemon is up already: pid {home.reach(start=False)['pid']}, home {home.root}")
        return FAILED
    command = [
        sys.executable,
        "-P",
        "-m",
        "samovard",
        "--home",
        home.root,
        "--foreground",
        *_daemon_options(options),
    ]
    sys.stdout.flush()
    os.execv(sys.executable, command)


def _down(home: Home, options: Any) -> int:
    if not home.up():
        print(f"no daemon is up in {home.root}")
        return OK
    try:
        pid = home.reach(start=False)["pid"]
        grace = _ask_to_end(home, options)
    except NoDaemon:
        if home.up():
            raise
        print(f"no daemon is up in {home.root}")  # Another command was quicker.
        return OK
    _wait_for_end(home, pid, grace + _HANG_S)
    print(f"the daemon has ended: pid {pid}")
    return OK


def _ask_to_end(home: Home, options: Any) -> float:
    from .client import Client

    grace = {} if options.grace_s is None else {"grace_s": options.grace_s}
    try:
        with Client(home, start=False) as client:
            return float(client.call("shutdown", **grace)["grace_s"])
    except DaemonGone:
        return 0.0


def _wait_for_end(home: Home, pid: int, patience_s: float) -> None:
    deadline = time.monotonic() + patience_s
    while home.up() and home.pid() in (pid, None):
        if time.monotonic() > deadline:
            _tell(f"the daemon (pid {pid}) did not end within {patience_s:g} s, so it is killed")
            os.kill(pid, signal.SIGKILL)
            deadline = float("inf")
        time.sleep(0.02)


def _restart(home: Home, options: Any) -> int:
    pid = home.pid()
    try:
        options.tcp = options.tcp or (home.connection() or {}).get("transport") == "tcp"
        _down(home, options)
    except NoDaemon as error:
        # A daemon that no longer answers, or whose connection file is spoilt, can still be ended by its pid.
        if pid is None:
            raise
        _tell(f"{error.message}; it is ended by its pid, {pid}")
        os.kill(pid, signal.SIGTERM)
        _wait_for_end(home, pid, _HANG_S)
    home.start(*_daemon_options(options))
    print(f"the daemon is up: pid {home.reach(start=False)['pid']}, home {home.root}")
    return OK


def _logs(home: Home, options: Any) -> int:
    path = os.path.join(home.logs, "agent-communication.log")
    if not os.path.exists(path):
        raise SamovarError(f"there is no log at {path} yet; a daemon writes it", code="no_log")
    with open(path, encoding="utf-8", errors="replace") as file:
        lines = file.readlines()
        for line in lines[max(0, len(lines) - options.lines) :]:
            _print_line(line, options.json)
        if not options.follow:
            return OK
        _print_new_lines(file, path, options.json)
    while True:  # The log was rotated: go on with the new one, from its start.
        with open(path, encoding="utf-8", errors="replace") as file:
            _print_new_lines(file, path, options.json)


def _print_new_lines(file: TextIO, path: str, as_json: bool) -> None:
    """Prints what is added to `file`, until another file is at `path`."""
    while True:
        line = file.readline()
        if line:
            _print_line(line, as_json)
            continue
        sys.stdout.flush()
        if _rotated(path, file.fileno()) and os.path.exists(path):
            return
        time.sleep(0.2)


def _rotated(path: str, descriptor: int) -> bool:
    try:
        return os.stat(path).st_ino != os.fstat(descriptor).st_ino
    except FileNotFoundError:
        return False


def _print_line(line: str, as_json: bool) -> None:
    if as_json:
        print(line, end="")
        return
    try:
        entry = json.loads(line)
        at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(entry.pop("at")))
        level, event = entry.pop("level"), entry.pop("event")
    except (ValueError, KeyError, TypeError, AttributeError):
        print(line, end="")
        return
    data = " ".join(f"{key}={value}" for key, value in entry.items())
    print(f"{at} {level:<7} {event:<22} {data}")


def _eval(home: Home, options: Any) -> int:
    from .evaluate import Evaluator
    from .prompt import prompt_of

    code = prompt_of(options.code)
    status = OK
    with Evaluator(home, start=not options.no_start) as evaluator:
        for output in evaluator.run(code):
            stream = sys.stderr if output.kind in ("stderr", "error") else sys.stdout
            text = output.text if stream.isatty() else _COLOUR.sub("", output.text)
            print(text, file=stream, end="" if output.kind in ("stdout", "stderr") else "\n", flush=True)
            if output.kind == "error":
                status = FAILED
    return status


def _demo(home: Home, options: Any) -> int:
    try:
        from .demo import play
    except ModuleNotFoundError as error:
        if error.name != "rich":
            raise
        raise NoDaemon(
            "the demo needs the extra 'daemon' (rich is missing); install it with: pip install 'samovar[daemon]'",
            code="missing_extra",
        ) from None
    return int(play(options.files, svg=options.svg))
