"""Results as a person reads them in a terminal. Plain text: no colour, no library."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

Plain = Any
"""A result as plain data, as `Client.call` returns it."""


def table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Columns as wide as they need to be; numbers to the right."""
    cells = [[str(cell) for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in [list(heads), *cells]) for column in range(len(heads))]
    right = [bool(rows) and all(isinstance(row[column], int | float) for row in rows) for column in range(len(heads))]

    def line(row: Sequence[str]) -> str:
        padded = (
            cell.rjust(width) if to_right else cell.ljust(width)
            for cell, width, to_right in zip(row, widths, right, strict=True)
        )
        return "  ".join(padded).rstrip()

    return "\n".join([line(heads), *map(line, cells)])


def tokens(usage: Plain) -> int:
    """Input and output together."""
    return int(usage["input"] + usage["output"])


def seconds(value: float | None) -> str:
    """A duration in the unit that suits it."""
    if value is None:
        return "-"
    return f"{value * 1000:.1f} ms" if value < 1 else f"{value:.1f} s"


def session(view: Plain) -> str:
    """One line about a session."""
    origin = f", forked from {view['forked_from']}" if view["forked_from"] else ""
    return f"{view['name']}: {view['model']}, {view['state']}, {view['messages']} message(s){origin}"


def sessions(views: Sequence[Plain]) -> str:
    """The live sessions, children below the session that they were forked from."""
    if not views:
        return "no sessions; start one with `samovar spawn NAME`"
    rows = [
        (
            "  " * depth + view["name"],
            view["model"],
            view["state"],
            view["messages"],
            view["asks"],
            view["queued"],
            tokens(view["usage"]),
            view["forked_from"] or "-",
        )
        for depth, view in lineage(views)
    ]
    return table(("SESSION", "MODEL", "STATE", "MESSAGES", "ASKS", "QUEUED", "TOKENS", "FORKED FROM"), rows)


def lineage(views: Sequence[Plain]) -> Iterator[tuple[int, Plain]]:
    """Each session with its depth below the first of its line that is live, parents before children."""
    names = {view["name"] for view in views}
    children: dict[str | None, list[Plain]] = {}
    for view in views:
        parent = view["forked_from"] if view["forked_from"] in names - {view["name"]} else None
        children.setdefault(parent, []).append(view)
    waiting = [(0, view) for view in reversed(children.get(None, []))]
    seen = set()
    while waiting:
        depth, view = waiting.pop()
        seen.add(view["name"])
        yield depth, view
        waiting += [(depth + 1, child) for child in reversed(children.get(view["name"], []))]
    # A name that was killed and given anew can make a circle of parents: those stand for themselves.
    yield from ((0, view) for view in views if view["name"] not in seen)


def ask(view: Plain) -> str:
    """An ask's state and what there is of its reply."""
    head = f"{view['ask']}  {view['session']}  {view['state']}"
    if view["error"]:
        head += f": {view['error']['message']} [{view['error']['code']}]"
    return f"{head}\n{view['text']}" if view["text"] else head


def footer(view: Plain) -> str:
    """One line about what a reply took."""
    usage, timing = view["usage"], view["timing"]
    return (
        f"{view['model']}: {usage['input']:,} tokens in, {usage['output']:,} out, first after "
        f"{seconds(timing['first_token_s'])}, all in {seconds(timing['total_s'])}"
    )


def broadcast(view: Plain) -> str:
    """Every reply, by name."""
    parts = []
    for outcome in view["outcomes"]:
        if outcome["error"]:
            text = f"error: {outcome['error']['message']} [{outcome['error']['code']}]"
        else:
            text = outcome["ask"]["text"]
        parts.append(f"## {outcome['session']}\n\n{text}\n")
    return "\n".join([*parts, f"{view['replied']} replied, {view['failed']} failed"])


def history(view: Plain) -> str:
    """A session's history as Markdown."""
    origin = f", forked from {view['forked_from']}" if view["forked_from"] else ""
    parts = [f"# {view['session']} ({view['model']}{origin})"]
    for message in view["messages"]:
        at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(message["at"]))
        parts.append(f"## {message['number']}. {message['role']} · {message['id'][:12]} · {at}\n\n{message['content']}")
    if len(view["messages"]) < view["total"]:
        parts.insert(1, f"The last {len(view['messages'])} of {view['total']} messages.")
    return "\n\n".join(parts)


def kill(view: Plain) -> str:
    """How many ended."""
    names = f": {' '.join(view['names'])}" if view["names"] else ""
    cancelled = f"; {view['cancelled_asks']} ask(s) cancelled" if view["cancelled_asks"] else ""
    return f"{view['killed']} session(s) ended{names}{cancelled}"


def models(views: Sequence[Plain]) -> str:
    """What can be spawned on."""
    rows = [
        (
            ("* " if view["default"] else "  ") + view["model"],
            view["backend"],
            "yes" if view["available"] else "not yet",
            view["context_window"] or "-",
            view["description"],
        )
        for view in views
    ]
    return table(("  MODEL", "BACKEND", "AVAILABLE", "WINDOW", ""), rows)


def describe(view: Plain) -> str:
    """The ops, a line each."""
    rows = [(op["name"], op["effect"], op["summary"]) for op in view["ops"]]
    return table(("OP", "EFFECT", "WHAT IT DOES"), rows)


def status(view: Plain) -> str:
    """The daemon, then the session that was asked about."""
    lines = [
        f"samovar {view['version']} is up: pid {view['pid']}, for {_since(view['uptime_s'])}, home {view['home']}",
        f"{view['sessions']} session(s); {view['running']} ask(s) running, {view['queued']} queued",
    ]
    if view["interrupted"]:
        lines.append(f"{len(view['interrupted'])} ask(s) were interrupted when the previous daemon ended:")
        lines += [f"  {item['ask']}  {item['session']}" for item in view["interrupted"][:10]]
    if view["session"]:
        lines += ["", session(view["session"]), _session_details(view["session"])]
        rows = [
            (item["ask"], item["state"], tokens(item["usage"]), seconds(item["timing"]["total_s"]))
            for item in view["asks"]
        ]
        lines += ["", table(("ASK", "STATE", "TOKENS", "TOOK"), rows)] if rows else []
    return "\n".join(lines)


def _session_details(view: Plain) -> str:
    usage = view["usage"]
    settings = " ".join(f"{key}={value}" for key, value in view["settings"].items()) or "none"
    return (
        f"head {view['head'] or '-'}; {view['asks']} ask(s) answered, {view['queued']} queued; "
        f"{usage['input']:,} tokens in, {usage['output']:,} out; settings: {settings}"
    )


def _since(uptime_s: float) -> str:
    minutes, rest = divmod(int(uptime_s), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"


def ping(view: Plain) -> str:
    """A sign of life."""
    return f"samovar {view['version']}, protocol {view['protocol']}, pid {view['pid']}"


def shutdown(view: Plain) -> str:
    """That it has begun."""
    return f"the daemon (pid {view['pid']}) is ending; {view['running']} running ask(s) have {view['grace_s']:g} s"


RENDERERS: dict[str, Callable[[Plain], str]] = {
    "spawn": session,
    "fork": session,
    "rewind": session,
    "list": sessions,
    "ask": lambda view: str(view["text"]),
    "relay": lambda view: str(view["text"]),
    "ask-async": lambda view: str(view["ask"]),
    "poll": ask,
    "cancel": ask,
    "broadcast": broadcast,
    "history": history,
    "kill": kill,
    "kill-all": kill,
    "models": models,
    "describe": describe,
    "status": status,
    "ping": ping,
    "shutdown": shutdown,
}
"""One for each op; a test checks that none is missing."""
