"""The table of ops, for faces that are made from it. Made by `invoke generate`; changes here are lost."""

from __future__ import annotations

from typing import Any, NamedTuple


class Param(NamedTuple):
    """One argument. `kind`: str, int, float, list, map, or text and prompt, which may come from files."""

    name: str
    kind: str
    required: bool
    default: Any
    doc: str


class Op(NamedTuple):
    """One op."""

    name: str
    effect: str
    summary: str
    streams: bool
    params: tuple[Param, ...]


OPS: dict[str, Op] = {
    "ask": Op(
        "ask",
        "write",
        "Asks a session and returns its reply; the text streams as it comes.",
        True,
        (
            Param("session", "str", True, None, "a live session's name"),
            Param("prompt", "prompt", True, None, "the prompt: text, `-` for standard input, files with --file"),
        ),
    ),
    "ask-async": Op(
        "ask-async",
        "write",
        "Asks a session and returns at once; the result's `ask` is the ticket that `poll` takes.",
        False,
        (
            Param("session", "str", True, None, "a live session's name"),
            Param("prompt", "prompt", True, None, "the prompt: text, `-` for standard input, files with --file"),
        ),
    ),
    "broadcast": Op(
        "broadcast",
        "write",
        "Asks many sessions one prompt at once; returns every reply, and every failure, by name.",
        True,
        (
            Param("prompt", "prompt", True, None, "the prompt: text, `-` for standard input, files with --file"),
            Param("sessions", "list", False, None, "the sessions to ask; all live ones where none is named"),
        ),
    ),
    "cancel": Op(
        "cancel",
        "write",
        "Stops an ask that is waiting or running; its session goes on, its history without the half reply.",
        False,
        (Param("ticket", "str", True, None, "the ask's ticket"),),
    ),
    "describe": Op(
        "describe", "read", "Returns every op with its arguments, and every error code with its meaning.", False, ()
    ),
    "fork": Op(
        "fork",
        "write",
        "Starts `new` from the history of `session`, or from an earlier message of it; nothing is copied.",
        False,
        (
            Param("session", "str", True, None, "a live session's name"),
            Param("new", "str", True, None, "the new session's name"),
            Param(
                "at", "str", False, None, "fork from this earlier message: its number, or four or more digits of its id"
            ),
            Param("model", "str", False, None, "an alias, a backend, or backend/id; `samovar models` lists them"),
        ),
    ),
    "history": Op(
        "history",
        "read",
        "Returns a session's messages, the oldest first.",
        False,
        (
            Param("session", "str", True, None, "a live session's name"),
            Param("last", "int", False, None, "only this many of the last messages"),
        ),
    ),
    "kill": Op(
        "kill",
        "write",
        "Ends sessions: their asks are cancelled, their names are free, their journal stays.",
        False,
        (Param("sessions", "list", True, None, "live sessions' names"),),
    ),
    "kill-all": Op("kill-all", "write", "Ends every live session, and says how many there were.", False, ()),
    "list": Op("list", "read", "Lists the live sessions, the oldest first, with who was forked from whom.", False, ()),
    "models": Op("models", "read", "Lists the models that sessions can be spawned on, the default first.", False, ()),
    "ping": Op("ping", "read", "Answers, and says which daemon it was.", False, ()),
    "poll": Op(
        "poll",
        "read",
        "Returns an ask as it is now, with the text so far; any client may, also after a restart.",
        False,
        (
            Param("ticket", "str", True, None, "the ask's ticket"),
            Param("wait_s", "float", False, 0.0, "how many seconds to wait for the ask's end"),
        ),
    ),
    "relay": Op(
        "relay",
        "write",
        "Asks one session the last reply of another, with an optional note before it.",
        True,
        (
            Param("source", "str", True, None, "a live session's name"),
            Param("target", "str", True, None, "a live session's name"),
            Param("note", "text", False, None, "what to say before the relayed reply: text, or @FILE"),
        ),
    ),
    "rewind": Op(
        "rewind",
        "write",
        "Moves a session's head back to an earlier message; what came after it stays in the journal.",
        False,
        (
            Param("session", "str", True, None, "a live session's name"),
            Param(
                "to",
                "str",
                True,
                None,
                "a message of the session's history: its number, or four or more digits of its id",
            ),
        ),
    ),
    "shutdown": Op(
        "shutdown",
        "stop",
        "Ends the daemon: no more asks are taken, running ones may end within the grace, the rest are interrupted.",
        False,
        (Param("grace_s", "float", False, None, "how many seconds running asks may take to end"),),
    ),
    "spawn": Op(
        "spawn",
        "write",
        "Starts a session: a named, live conversation with one model.",
        False,
        (
            Param("name", "str", True, None, "the new session's name"),
            Param("model", "str", False, None, "an alias, a backend, or backend/id; `samovar models` lists them"),
            Param("system", "text", False, None, "the system prompt: text, or @FILE"),
            Param("settings", "map", False, {}, "the model's settings, such as max_tokens and temperature"),
        ),
    ),
    "status": Op(
        "status",
        "read",
        "Returns how the daemon is, what the last one's end interrupted, and how a session and its latest asks are.",
        False,
        (Param("session", "str", False, None, "a live session's name; the daemon alone without it"),),
    ),
}
