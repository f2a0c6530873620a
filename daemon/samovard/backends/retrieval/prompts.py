"""What a prompt is made of: documents, replies that were relayed, and what its sender says himself."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Kind = Literal["document", "reply"]

_TAG = re.compile(
    r"^(?:<(?P<kind>document|reply)(?: (?:name|session)=\"(?P<name>[^\"\n]*)\")?>|</(?P<end>document|reply)>)"
    r"[ \t]*$\n?",
    re.MULTILINE,
)

REACH = 200
"""Tags that are looked through for the end of a part."""


@dataclass(frozen=True, slots=True)
class Part:
    """A document (`name` is its file's) or a reply (`name` is the session's) in a prompt."""

    kind: Kind
    name: str
    text: str


def parse(prompt: str) -> tuple[list[Part], str]:
    """The prompt's parts, and the text outside them.

    A tag stands alone in its line. A part goes to the tag that ends it, past whole parts of its kind inside it; where
    those don't add up, to the first end. A part without an end is none.
    """
    tags = list(_TAG.finditer(prompt))
    last = {tag["end"]: place for place, tag in enumerate(tags) if tag["end"]}
    blocks: list[Part] = []
    outside: list[str] = []
    place, after = 0, 0
    while place < len(tags):
        begin = tags[place]
        end = _end(tags, place) if place < last.get(begin["kind"], 0) else None
        if end is not None:
            text = prompt[begin.end() : tags[end].start()].removesuffix("\n")
            kind: Kind = "document" if begin["kind"] == "document" else "reply"
            blocks.append(Part(kind, begin["name"] or "", text))
            outside.append(prompt[after : begin.start()])
            place, after = end, tags[end].end()
        place += 1
    outside.append(prompt[after:])
    return blocks, "\n".join(part.strip() for part in outside if part.strip())


def _end(tags: Sequence[re.Match[str]], begin: int) -> int | None:
    """The number of the tag that ends the part which the tag `begin` begins."""
    kind, depth, first = tags[begin]["kind"], 0, None
    for place in range(begin, min(len(tags), begin + REACH)):
        depth += (tags[place]["kind"] == kind) - (tags[place]["end"] == kind)
        if first is None and tags[place]["end"] == kind:
            first = place
        if depth == 0:
            return place
    return first
