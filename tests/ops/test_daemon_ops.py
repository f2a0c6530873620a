"""The ops on the daemon, what every op has in common, and that every op is everywhere an op is to be."""

import inspect
import os
import re
from pathlib import Path
from typing import Any

import pytest

import samovar.ops
from house import Ops, ended, eventually, hanging, refused
from samovar import AsyncClient, Client
from samovar.render import RENDERERS
from samovar.version import PROTOCOL, __version__
from samovard.model.errors import codes
from samovard.ops.all import OPS

ROOT = Path(__file__).resolve().parents[2]
NAMES = sorted(OPS)

GOOD: dict[str, dict[str, Any]] = {
    "ask": {"session": "w1", "prompt": "p"},
    "ask-async": {"session": "w1", "prompt": "p"},
    "broadcast": {"prompt": "p"},
    "cancel": {"ticket": "t"},
    "describe": {},
    "fork": {"session": "w1", "new": "w2"},
    "history": {"session": "w1"},
    "kill": {"sessions": ["w1"]},
    "kill-all": {},
    "list": {},
    "models": {},
    "ping": {},
    "poll": {"ticket": "t"},
    "relay": {"source": "w1", "target": "w1"},
    "rewind": {"session": "w1", "to": "1"},
    "shutdown": {},
    "spawn": {"name": "w2"},
    "status": {},
}
"""What each op can't do without."""

WRONG = {"str": 5, "text": 5, "prompt": ["p"], "list": "w1", "map": [], "int": "1", "float": "1"}
"""For each kind of argument, a value that is not of it."""


# ---------------------------------------------------------------- the daemon


def test_ping_says_which_daemon_it_was(ops: Ops) -> None:
    assert ops.call("ping") == {"version": __version__, "protocol": PROTOCOL, "pid": os.getpid()}


def test_status_counts_sessions_and_asks(ops: Ops) -> None:
    status = ops.call("status")
    assert (status["version"], status["protocol"], status["pid"]) == (__version__, PROTOCOL, os.getpid())
    assert (status["sessions"], status["running"], status["queued"], status["interrupted"]) == (0, 0, 0, [])
    assert (status["home"], status["session"], status["asks"]) == (str(ops.house.folder), None, [])
    assert status["uptime_s"] >= 0
    ops.call("spawn", name="w1", model="fake/hang")
    hanging(ops, "w1")
    ops.call("ask-async", session="w1", prompt="waits")
    status = ops.call("status")
    assert (status["sessions"], status["running"], status["queued"]) == (1, 1, 1)


def test_status_of_a_session_has_it_and_its_latest_asks(ops: Ops) -> None:
    ops.call("spawn", name="w1")
    ops.call("spawn", name="w2")
    tickets = [ops.call("ask", session="w1", prompt=f"number {n}")["ask"] for n in range(25)]
    ops.call("ask", session="w2", prompt="another's")
    status = ops.call("status", session="w1")
    assert status["session"] == ops.call("list")[0]
    # Tickets sort by the millisecond that they were made in.
    assert len(status["asks"]) == 20
    assert [ask["ask"] for ask in status["asks"]] == sorted(tickets, reverse=True)[:20]
    assert "'w1'" in refused(ops, "unknown_session", "status", session="w1x").message


def test_status_tells_what_the_last_daemons_end_interrupted(ops: Ops) -> None:
    ops.call("spawn", name="w1", model="fake/hang")
    running = hanging(ops, "w1")
    waiting = ops.call("ask-async", session="w1", prompt="waits")["ask"]
    ops.restart()
    for ticket in (running, waiting):
        view = ended(ops, ticket)
        assert (view["state"], view["error"]["code"], view["session"]) == ("interrupted", "interrupted", "w1")
    assert ops.call("status")["running"] == ops.call("status")["queued"] == 0
    assert ops.call("history", session="w1")["total"] == 0


def test_models_lists_the_default_first_and_says_what_is_still_to_come(ops: Ops) -> None:
    views = ops.call("models")
    assert (views[0]["model"], views[0]["default"], views[0]["available"]) == ("fake", True, True)
    assert [view["model"] for view in views if view["default"]] == ["fake"]
    there = {view["model"]: view["available"] for view in views}
    assert there["reader"] and not there["haiku"] and not there["ollama"]
    for model in (name for name, available in there.items() if available):
        ops.call("spawn", name=re.sub(r"[^\w.:-]", "-", f"on-{model}")[:64], model=model)


def test_shutdown_begins_with_the_grace_that_was_given_else_the_daemons(ops: Ops) -> None:
    ops.call("spawn", name="w1", model="fake/hang")
    hanging(ops, "w1")
    assert ops.call("shutdown", grace_s=2.5) == {"pid": os.getpid(), "grace_s": 2.5, "running": 1}
    assert ops.call("shutdown")["grace_s"] == 10.0
    assert ops.house.shutdowns == [2.5, 10.0]
    for grace_s in (-1, 3601, "1", float("nan")):
        refused(ops, "invalid_argument", "shutdown", grace_s=grace_s)
    assert ops.house.shutdowns == [2.5, 10.0]


def test_while_it_shuts_down_it_takes_no_more_and_still_tells(ops: Ops) -> None:
    ops.call("spawn", name="w1")
    ops.call("ask", session="w1", prompt="one")
    ops.house.run(ops.house.core.drain(0))
    for op, args in (
        ("ask", {"session": "w1", "prompt": "two"}),
        ("ask-async", {"session": "w1", "prompt": "two"}),
        ("relay", {"source": "w1", "target": "w1"}),
        ("spawn", {"name": "w2"}),
        ("fork", {"session": "w1", "new": "w2"}),
    ):
        refused(ops, "shutting_down", op, **args)
    assert ops.call("broadcast", prompt="two")["outcomes"][0]["error"]["code"] == "shutting_down"
    assert ops.call("history", session="w1")["total"] == 2


def test_a_shutdown_lets_running_asks_end_within_the_grace(ops: Ops) -> None:
    ops.call("spawn", name="w1", model="fake/words:50:0.005")
    ops.call("spawn", name="w2", model="fake/hang")
    short = ops.call("ask-async", session="w1", prompt="one")["ask"]
    waiting = ops.call("ask-async", session="w1", prompt="two")["ask"]
    hanging(ops, "w2")
    eventually(lambda: ops.call("poll", ticket=short)["state"] == "running", "the short one runs")
    drained = ops.house.begin(ops.house.core.drain(30))
    assert ended(ops, short)["state"] == "done"
    assert ended(ops, waiting)["state"] == "interrupted"
    assert not drained.done()  # The one that hangs has the rest of the grace.
    ops.call("kill", sessions=["w2"])
    drained.result(30)


# ---------------------------------------------------------------- what every op has in common


def test_an_unknown_op_is_refused_with_the_nearest_name(ops: Ops) -> None:
    assert "'spawn'" in refused(ops, "unknown_op", "spwan", name="w1").message
    for op in ("", "SPAWN", "kill_all", "x" * 10_000, "\n"):
        assert len(refused(ops, "unknown_op", op).message) < 300


@pytest.mark.parametrize("op", NAMES)
def test_an_argument_that_an_op_lacks_is_refused_by_name(ops: Ops, op: str) -> None:
    error = refused(ops, "invalid_argument", op, **GOOD[op], sesion="w1")
    assert "'sesion'" in error.message
    if "session" in {param.name for param in OPS[op].view().params}:
        assert "Did you mean 'session'?" in error.message
    refused(ops, "invalid_argument", op, **GOOD[op], listener=None)
    assert ops.house.shutdowns == []


@pytest.mark.parametrize("op", [name for name in NAMES if GOOD[name]])
def test_an_op_is_refused_without_an_argument_that_it_needs(ops: Ops, op: str) -> None:
    assert set(GOOD[op]) == {param.name for param in OPS[op].view().params if param.required}
    for name in GOOD[op]:
        rest = {key: value for key, value in GOOD[op].items() if key != name}
        assert repr(name) in refused(ops, "invalid_argument", op, **rest).message


@pytest.mark.parametrize(
    ("op", "name", "kind"), [(op, param.name, param.kind) for op in NAMES for param in OPS[op].view().params]
)
def test_an_argument_of_the_wrong_type_is_refused_by_name(ops: Ops, op: str, name: str, kind: str) -> None:
    ops.call("spawn", name="w1")
    for value in (WRONG[kind], {"a": 1}, [1], True) if kind != "map" else (WRONG[kind], 1, "x"):
        assert repr(name) in refused(ops, "invalid_argument", op, **{**GOOD[op], name: value}).message
    assert ops.house.shutdowns == []


def test_a_refusal_is_short_however_long_the_value(ops: Ops) -> None:
    ops.call("spawn", name="w1")
    long = "y" * 1_000_000
    for op, args in (
        ("history", {"session": long}),
        ("history", {"session": "w1", "last": long}),
        ("history", {"session": "w1", long: 1}),
        ("rewind", {"session": "w1", "to": long}),
        ("spawn", {"name": long}),
        ("spawn", {"name": "w2", "model": long}),
        ("spawn", {"name": "w2", "settings": {"max_tokens": long}}),
        ("spawn", {"name": "w2", "settings": {long: 1}}),
        ("relay", {"source": long, "target": "w1"}),
    ):
        with pytest.raises(Exception, match=".") as caught:
            ops.call(op, **args)
        assert caught.value.code not in ("internal", "usage"), (op, list(args))
        assert len(caught.value.message) < 1000, (op, list(args))


def test_no_value_makes_a_refusal_fail_itself(ops: Ops) -> None:
    """A whole number of 5,000 digits can't be printed, and half a surrogate pair can't be bound to SQL."""
    number = 10**4200
    ops.call("spawn", name="w1")
    for op, args in (
        ("history", {"session": number}),
        ("poll", {"ticket": "t", "wait_s": number}),
        ("spawn", {"name": "w2", "settings": {"max_tokens": "x", "temperature": number}}),
        ("rewind", {"session": "w1", "to": "9" * 5000}),
        ("rewind", {"session": "w1", "to": "\u0663\u0663"}),
    ):
        with pytest.raises(Exception, match=".") as caught:
            ops.call(op, **args)
        assert caught.value.code in ("invalid_argument", "unknown_message"), (op, caught.value)


# ---------------------------------------------------------------- every op is everywhere


def test_every_op_is_described_with_its_arguments_and_every_code_with_its_meaning(ops: Ops) -> None:
    described = ops.call("describe")
    assert (described["version"], described["protocol"]) == (__version__, PROTOCOL)
    assert [op["name"] for op in described["ops"]] == NAMES
    for op in described["ops"]:
        assert op["summary"] and op["doc"].startswith(op["summary"][:20]) and op["returns"], op["name"]
        assert op["effect"] in ("read", "write", "stop")
        for param in op["params"]:
            assert param["doc"] and param["kind"] in WRONG, (op["name"], param["name"])
    assert described["errors"] == codes()


def test_every_code_that_an_op_names_is_one_that_there_is() -> None:
    for name in NAMES:
        told = re.search(r"Errors: (.*)", inspect.getdoc(OPS[name].function) or "", re.DOTALL)
        for code in re.findall(r"\b[a-z]+_[a-z_]+\b", told[1] if told else ""):
            assert code in codes(), (name, code)


def test_every_op_has_a_renderer_and_is_in_the_clients_table() -> None:
    assert sorted(RENDERERS) == sorted(samovar.ops.OPS) == NAMES


def test_every_op_has_a_section_of_the_docs_with_each_of_its_arguments() -> None:
    page = (ROOT / "docs" / "ops.md").read_text("utf-8")
    for name in NAMES:
        section = page.split(f"\n## {name}\n")[1].split("\n## ")[0]
        assert OPS[name].view().summary.split(";")[0] in section.replace("\n", " ")
        for param in OPS[name].view().params:
            assert f"| `{param.name}` | {param.kind} |" in section, (name, param.name)
    for code in codes():
        assert f"| `{code}` |" in page


@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_every_op_is_a_method_of_the_client_with_the_same_arguments(kind: type) -> None:
    for name in NAMES:
        method = getattr(kind, name.replace("-", "_"))
        given = [param for param in inspect.signature(method).parameters if param != "self"]
        assert given == [param.name for param in OPS[name].view().params], name
        assert inspect.iscoroutinefunction(method) == (kind is AsyncClient)


def test_every_op_is_a_function_in_the_kernels_namespace(ops: Ops) -> None:
    from samovard.doors.functions import namespace

    names = namespace(ops.house.core, ops.house.loop)
    for op in NAMES:
        name = "list_" if op == "list" else op.replace("-", "_")
        assert callable(names[name]) and names[name] == getattr(names["samovar"], op.replace("-", "_")), op
    assert set(names) == {"list_" if op == "list" else op.replace("-", "_") for op in NAMES} | {"samovar"}
    names["spawn"]("w1", system="s")
    assert names["ask"]("w1", "one").text == "one"
    assert names["history"]("w1").messages[0].content == "s"
    with pytest.raises(Exception, match="no session") as caught:
        names["ask"]("w2", "one")
    assert caught.value.code == "unknown_session"
