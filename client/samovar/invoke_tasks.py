"""The Invoke collections: one a backend, with every op about sessions, and `daemon`. Made from the table of ops.

A user's own tasks.py mounts them in two lines:

    from samovar.invoke_tasks import mount
    ns = mount()
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from invoke.collection import Collection
from invoke.context import Context
from invoke.exceptions import Exit
from invoke.tasks import Task

from . import cli, process
from .ops import OPS, Op, Param

BACKENDS = ("claude", "reader", "ollama", "gemini", "vllm")
"""A backend's name is also the model that the daemon takes for its default."""

_DAEMON_OPS = {"ping", "shutdown", "describe", "models"}
_PROCESS = ("up", "down", "restart", "logs")


def mount(root: Collection | None = None) -> Collection:
    """Adds the collections to `root`, else to a new one, and returns it."""
    root = root or Collection()
    for backend in BACKENDS:
        root.add_collection(backend_collection(backend))
    root.add_collection(daemon_collection())
    return root


def backend_collection(backend: str) -> Collection:
    """`spawn`, `ask`, `fork` and all other ops on sessions; `spawn` takes the backend's default model."""
    collection = Collection(backend)
    for op in OPS.values():
        if op.name not in _DAEMON_OPS:
            collection.add_task(_op_task(op, backend))
    collection.add_task(_eval_task())
    return collection


def daemon_collection() -> Collection:
    """`up`, `down`, `restart`, `logs`, `status`, and the ops on the daemon itself."""
    collection = Collection("daemon")
    for command in _PROCESS:
        collection.add_task(_process_task(command))
    for name in sorted({*_DAEMON_OPS, "status"}):
        collection.add_task(_op_task(OPS[name], None))
    return collection


def _op_task(op: Op, backend: str | None) -> Task[Any]:
    def body(_: Context, **given: Any) -> None:
        as_json, home = given.pop("json"), given.pop("home") or None
        values = _guarded(lambda: cli.values_of(op, _as_typed(op, given)))
        if op.name == "spawn" and backend:
            values.setdefault("model", backend)
        _guarded(lambda: cli.run_op(op, values, home=home, as_json=as_json))

    return _task(op.name, op.summary, body, op.params)


def _as_typed(op: Op, given: dict[str, Any]) -> dict[str, Any]:
    """What Invoke parsed, as the command line has it: an empty string is an argument that was not given."""
    typed: dict[str, Any] = {"file": given.pop("file", None)}
    for param in op.params:
        value: Any = given.get("set" if param.kind == "map" else param.name)
        if param.kind == "list":
            value = [name for name in (value or "").split(",") if name] or None
        typed[param.name] = value if value != "" else None
    return typed


def _guarded(step: Callable[[], Any]) -> Any:
    """Runs a step of a command; its exit code becomes Invoke's."""
    code: Any = None

    def run() -> int:
        nonlocal code
        code = step()
        return code if isinstance(code, int) else cli.OK

    status = cli.guarded(run)
    if status:
        raise Exit(code=status)
    return code


def _task(name: str, summary: str, body: Callable[..., None], params: tuple[Param, ...]) -> Task[Any]:
    """An Invoke task whose options are `params`."""
    options = [inspect.Parameter("_", inspect.Parameter.POSITIONAL_OR_KEYWORD)]
    helps: dict[str, str] = {}
    for param in params:
        options += _options(param, helps)
    options += [_option("json", False), _option("home", "")]
    helps |= {"json": "print the result as JSON", "home": "the daemon's home folder"}
    body.__signature__ = inspect.Signature(options)  # type: ignore[attr-defined]
    body.__doc__ = summary
    body.__name__ = name
    positional = [param.name for param in params if param.required and param.kind != "map"]
    iterable = [name for name in ("file", "set") if name in helps]
    return Task(body, name=name, positional=positional, iterable=iterable, help=helps)


def _options(param: Param, helps: dict[str, str]) -> list[inspect.Parameter]:
    if param.kind == "map":
        helps["set"] = f"{param.doc}: KEY=VALUE, may be repeated"
        return [_option("set", None)]
    helps[param.name] = param.doc + (" (comma-separated)" if param.kind == "list" else "")
    if param.kind == "prompt":
        helps["file"] = "a file to put before the prompt; may be repeated"
        # Invoke has no positional argument that may be left out; files alone go with an empty prompt.
        return [_option("prompt", inspect.Parameter.empty), _option("file", None)]
    return [_option(param.name, inspect.Parameter.empty if param.required else "")]


def _option(name: str, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=default)


def _eval_task() -> Task[Any]:
    def body(_: Context, code: str, home: str = "") -> None:
        """Evaluates Python in the daemon."""
        _guarded(lambda: process.run("eval", [*_home(home), "--", code]))

    return Task(
        body,
        name="eval",
        positional=["code"],
        help={"code": "Python, or - for standard input", "home": "the daemon's home folder"},
        auto_shortflags=False,
    )


def _process_task(command: str) -> Task[Any]:
    def body(_: Context, home: str = "") -> None:
        _guarded(lambda: process.run(command, _home(home)))

    def logs(_: Context, follow: bool = False, lines: int = 50, home: str = "") -> None:
        flags = ["--follow"] if follow else []
        _guarded(lambda: process.run("logs", [*_home(home), *flags, "--lines", str(lines)]))

    chosen = logs if command == "logs" else body
    chosen.__doc__ = cli.PROCESS_COMMANDS[command]
    return Task(chosen, name=command)


def _home(home: str) -> list[str]:
    return ["--home", home] if home else []
