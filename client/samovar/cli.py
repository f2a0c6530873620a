"""`samovar ...`: every op, made from the table of ops, and the commands that are about the daemon's process.

A command imports what it needs and no more: a whole `samovar ask` takes little longer than `import zmq`.
Exit codes: 0; 1 the op failed; 2 usage; 3 no daemon; 130 after Ctrl-C.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from io import TextIOWrapper
from typing import TYPE_CHECKING, Any, NoReturn

from .errors import NoDaemon, SamovarError, UsageError

if TYPE_CHECKING:
    import argparse

    from .client import Client
    from .ops import Op, Param

OK, FAILED, USAGE, NO_DAEMON, INTERRUPTED = 0, 1, 2, 3, 130

_NEVER_START = {"status", "shutdown"}
"""Ops that are about a daemon that is there; starting one to look at it would be beside the point."""

PROCESS_COMMANDS = {
    "up": "start the daemon; --foreground for a service manager, --tcp for TCP with CurveZMQ",
    "down": "end the daemon",
    "restart": "end the daemon and start it again",
    "logs": "show the daemon's log; -f follows it",
    "eval": "evaluate Python in the daemon: CODE, or - for standard input",
    "demo": "show what samovar does, on a daemon of its own",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code."""
    return guarded(lambda: _run(list(sys.argv[1:] if argv is None else argv)))


def guarded(command: Callable[[], int]) -> int:
    """The command's exit code; its errors are told in a line each."""
    _prepare_streams()
    try:
        status = command()
        sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        _tell("interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has gone (`| head`); Python's own flush at the end must not fail on it again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        _tell(f"error: the output could not be written, or a file not used: {error} [os_error]")
        return FAILED
    except UsageError as error:
        _tell(f"error: {error.message} [{error.code}]")
        return USAGE
    except NoDaemon as error:
        _tell(f"error: {error.message} [{error.code}]")
        return NO_DAEMON
    except SamovarError as error:
        _tell(f"error: {error.message} [{error.code}]")
        return FAILED


def _prepare_streams() -> None:
    """A closed stream becomes the null device; a terminal that lacks some script still shows the rest."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)
    sys.stdin = sys.stdin or os.fdopen(0, encoding="utf-8")
    sys.stdout = sys.stdout or os.fdopen(1, "w", encoding="utf-8")
    sys.stderr = sys.stderr or os.fdopen(2, "w", encoding="utf-8")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")


def _tell(line: str) -> None:
    print(line, file=sys.stderr)


def _run(argv: list[str]) -> int:
    place = _place_of_command(argv)
    if place is None:
        return _overview(argv)
    command, rest = argv[place], argv[:place] + argv[place + 1 :]
    from .ops import OPS

    if command in OPS:
        return _run_op(OPS[command], rest)
    if command in PROCESS_COMMANDS:
        from . import process

        return process.run(command, rest)
    from difflib import get_close_matches

    close = get_close_matches(command, [*OPS, *PROCESS_COMMANDS], n=1)
    hint = f" Did you mean {close[0]!r}?" if close else " `samovar --help` lists all."
    raise UsageError(f"there is no command {command!r}.{hint}", code="unknown_op")


def _place_of_command(argv: list[str]) -> int | None:
    """Where the first word is that is no option, and no option's value."""
    place = 0
    while place < len(argv) and argv[place].startswith("-"):
        place += 2 if argv[place] == "--home" else 1
    return place if place < len(argv) else None


def _overview(argv: list[str]) -> int:
    from .ops import OPS
    from .version import PROTOCOL, __version__

    if "--version" in argv:
        print(f"samovar {__version__}, protocol {PROTOCOL}")
        return OK
    unknown = [word for word in argv if word not in ("-h", "--help")]
    if unknown:
        raise UsageError(f"there is no option {unknown[0]!r} before a command; `samovar --help` lists the commands")
    lines = ["samovar: live conversations with language models, held by a daemon that stays warm.", ""]
    lines += ["usage: samovar COMMAND [ARGUMENTS] [--home DIR] [--no-start] [--json]", "", "The daemon:"]
    lines += [f"  {name:<12} {text}" for name, text in PROCESS_COMMANDS.items()]
    lines += ["", "Ops:"]
    lines += [f"  {op.name:<12} {op.summary}" for op in OPS.values()]
    lines += ["", "`samovar COMMAND --help` tells more."]
    print("\n".join(lines))
    return OK if argv else USAGE


class _Parsers:
    """Makes argparse's parsers; `argparse` is imported on first use."""

    @staticmethod
    def plain(command: str, about: str) -> argparse.ArgumentParser:
        """A parser with the options that every command has."""
        import argparse

        class Parser(argparse.ArgumentParser):
            def error(self, message: str) -> NoReturn:
                raise UsageError(f"{message}; `{self.prog} --help` tells what it takes")

        parser = Parser(prog=f"samovar {command}", description=about, allow_abbrev=False)
        parser.add_argument("--home", help="the daemon's home folder")
        return parser

    @classmethod
    def for_op(cls, op: Op) -> argparse.ArgumentParser:
        """A parser for an op's arguments: those that are required by place, the others by name."""
        parser = cls.plain(op.name, op.summary)
        parser.add_argument("--no-start", action="store_true", help="fail with 3 where no daemon is up")
        parser.add_argument("--json", action="store_true", help="print the result as JSON")
        for param in op.params:
            _add_argument(parser, param)
        if op.name == "history":
            parser.add_argument("--format", choices=("markdown", "json"), default="markdown", help="how to print it")
        return parser


def parsed(parser: argparse.ArgumentParser, argv: list[str]) -> argparse.Namespace:
    """What was typed, options and arguments in any order; argparse can't do that where `--` ends the options."""
    return parser.parse_args(argv) if "--" in argv else parser.parse_intermixed_args(argv)


def _add_argument(parser: argparse.ArgumentParser, param: Param) -> None:
    name = param.name.replace("_", "-")
    if param.kind == "prompt":
        parser.add_argument("prompt", nargs="?", help=param.doc)
        parser.add_argument(
            "--file", action="append", default=[], help="a file to put before the prompt; may be repeated"
        )
    elif param.kind == "map":
        parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest=param.name, help=param.doc)
    elif param.kind == "list":
        if param.required:
            parser.add_argument(param.name, nargs="+", help=param.doc)
        else:
            parser.add_argument(f"--{name}", nargs="+", help=param.doc)
    elif param.required or param.name == "session":
        parser.add_argument(param.name, nargs=None if param.required else "?", help=param.doc)
    else:
        parser.add_argument(f"--{name}", help=param.doc)


def values_of(op: Op, given: dict[str, Any]) -> dict[str, Any]:
    """An op's arguments from what was typed: files are read, settings parsed. Raises UsageError."""
    from .prompt import prompt_of, text_or_file

    values: dict[str, Any] = {}
    for param in op.params:
        value = given.get(param.name)
        if param.kind == "prompt":
            value = prompt_of(value, given.get("file") or [])
        elif param.kind == "text" and value is not None:
            value = text_or_file(value)
        elif param.kind == "map":
            value = _settings(value or [])
        elif param.kind in ("int", "float") and value is not None:
            value = number(param, value)
        if value is not None:
            values[param.name] = value
    return values


def number(param: Param, text: str) -> float:
    """The number that `text` says. Raises UsageError."""
    try:
        return int(text) if param.kind == "int" else float(text)
    except ValueError:
        raise UsageError(f"--{param.name.replace('_', '-')} takes a number, not {text!r}") from None


def _settings(pairs: Sequence[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not key:
            raise UsageError(f"--set takes KEY=VALUE, not {pair!r}")
        try:
            found[key] = json.loads(text)
        except ValueError:
            found[key] = text
    return found


def _run_op(op: Op, argv: list[str]) -> int:
    options = vars(parsed(_Parsers.for_op(op), argv))
    return run_op(
        op,
        values_of(op, options),
        home=options["home"],
        start=not options["no_start"],
        as_json=options["json"] or options.get("format") == "json",
    )


def run_op(op: Op, values: dict[str, Any], *, home: str | None, start: bool = True, as_json: bool = False) -> int:
    """Calls an op and prints what comes of it. Raises SamovarError."""
    from .client import Client

    with Client(home, start=start and op.name not in _NEVER_START) as client:
        if op.streams and not as_json and op.name != "broadcast":
            return _stream(client, op.name, values)
        result = client.call(op.name, **values)
    print(json.dumps(result, ensure_ascii=False, indent=2) if as_json else _rendered(op.name, result))
    if op.name == "broadcast" and result["failed"]:
        return FAILED
    return OK


def _rendered(op: str, result: Any) -> str:
    from .render import RENDERERS

    return RENDERERS[op](result)


def _stream(client: Client, op: str, values: dict[str, Any]) -> int:
    """Prints a reply as it comes; what it took goes to standard error where a person is looking."""
    told = 0
    with closing(client.stream(op, **values)) as events:
        for event in events:
            if event["type"] == "delta" and event["offset"] == told:
                told += len(event["text"])
                print(event["text"], end="", flush=True)
            elif event["type"] == "result":
                print(event["value"]["text"][told:], flush=True)
                _tell_what_it_took(event["value"])
    return OK


def _tell_what_it_took(view: dict[str, Any]) -> None:
    if sys.stderr.isatty():
        from .render import footer

        _tell(f"\033[2m{footer(view)}\033[0m")


if __name__ == "__main__":
    sys.exit(main())
