"""A message as it was read: once, however many sessions share it.

Owns the rule of what may serve as an answer: what the context states. Questions, requests, and what the reader says
of its own doing state nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from samovard.model.message import Role

from .bm25 import Index, Unit
from .markdown import code_units, units
from .prompts import Kind, Part, parse
from .sentences import asks, split
from .words import REQUESTS

PASTED = 1500
"""Characters. What a prompt says outside its documents is a text to read, no question, from here on."""
TALK = 400
"""Characters. A prompt of no more is talk: requests in it are requests, where in a text they may be its contents."""

_PROSE = frozenset(("", ".md", ".markdown", ".mdx", ".txt", ".rst", ".adoc", ".org", ".html"))
_OWN = re.compile(r"I (?:have (?:read|noted) .*\bsentences?\.$|do not know: )")


@dataclass(frozen=True, slots=True)
class Heard:
    """A document or a relayed reply in a message: `beginning` is the text of its first units, `count` counts all."""

    kind: Kind
    name: str
    count: int
    beginning: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Reading:
    """A message, read. `said` is what its sender says himself: in words, and as an index of what it states."""

    words: int
    heard: tuple[Heard, ...]
    said: str
    quoted: Index
    stated: Index


def read(role: Role, content: str, stopped: Callable[[], bool] = lambda: False) -> Reading:
    """Reads a message; a long one (1 MB) takes about half a second. What comes back once `stopped` is of no use."""
    parts, said = parse(content) if role == "user" else ([], content)
    if role == "user" and len(said) > PASTED:
        parts.append(Part("document", "", said))
        said = _asked(said)
    heard: list[Heard] = []
    quoted = Index(_quoted(parts, heard), stopped)
    talk = role == "user" and len(said) <= TALK
    stated = Index((unit for unit in units(said, wrapped=role != "assistant") if states(unit.text, talk)), stopped)
    return Reading(len(content.split()), tuple(heard), said, quoted, stated)


def _asked(text: str) -> str:
    """The question that a long text begins or ends with."""
    ends = split(" ".join(text[:PASTED].split()))[:1] + split(" ".join(text[-PASTED:].split()))[-1:]
    return " ".join(dict.fromkeys(filter(asks, ends)))


def states(text: str, talk: bool = False) -> bool:
    """False for a question, for what the reader says of itself and, in talk, for a request."""
    if asks(text) or _OWN.match(text):
        return False
    return not (talk and text.split(" ", 1)[0].strip(",:").lower() in REQUESTS)


def _quoted(parts: Iterable[Part], heard: list[Heard]) -> Iterator[Unit]:
    """The units of all parts; tells of each part in `heard` once its units are through."""
    for part in parts:
        count, beginning = 0, []
        for unit in _units(part):
            count += 1
            if count <= 20:
                beginning.append(unit.text)
            if states(unit.text):
                yield unit
        heard.append(Heard(part.kind, part.name, count, tuple(beginning)))


def _units(part: Part) -> Iterator[Unit]:
    if part.kind == "reply":
        return units(part.text, title=part.name, wrapped=False)
    if PurePosixPath(part.name).suffix.lower() in _PROSE:
        return units(part.text, title=part.name)
    return code_units(part.text, title=part.name)
