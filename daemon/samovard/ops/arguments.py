"""The arguments that ops share: what each means is told here once."""

from __future__ import annotations

from typing import Annotated, Any

from .registry import described

NewName = Annotated[str, described("the new session's name", "str")]
SessionRef = Annotated[str, described("a live session's name", "str")]
SessionRefs = Annotated[list[str], described("live sessions' names", "list")]
SomeSessions = Annotated[list[str] | None, described("the sessions to ask; all live ones where none is named", "list")]
SomeSession = Annotated[str | None, described("a live session's name; the daemon alone without it", "str")]
ModelName = Annotated[str | None, described("an alias, a backend, or backend/id; `samovar models` lists them", "str")]
System = Annotated[str | None, described("the system prompt: text, or @FILE", "text")]
Settings = Annotated[
    dict[str, Any],
    described("the model's settings, such as max_tokens and temperature", "map", default_factory=dict),
]
Prompt = Annotated[str, described("the prompt: text, `-` for standard input, files with --file", "prompt")]
Note = Annotated[str | None, described("what to say before the relayed reply: text, or @FILE", "text")]
Ticket = Annotated[str, described("the ask's ticket", "str")]
WaitS = Annotated[float, described("how many seconds to wait for the ask's end", "float", ge=0, le=3600)]
MessageRef = Annotated[
    str, described("a message of the session's history: its number, or four or more digits of its id", "str")
]
SomeMessage = Annotated[
    str | None,
    described("fork from this earlier message: its number, or four or more digits of its id", "str"),
]
Last = Annotated[int | None, described("only this many of the last messages", "int", ge=1, le=10**9)]
GraceS = Annotated[float | None, described("how many seconds running asks may take to end", "float", ge=0, le=3600)]
