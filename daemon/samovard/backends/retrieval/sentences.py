"""Sentences out of running text. Keeps code spans whole, and every sentence readable alone.

Its patterns are bounded, so that no text takes more than time in proportion to its length.
"""

from __future__ import annotations

import re
from itertools import pairwise

from .words import ABBREVIATIONS, LEANING, NUMBERED

CODE = re.compile(r"(?<!`)(`{1,3})(?!`)[^`]{1,300}\1(?!`)")
"""A code span."""
_END = re.compile(
    "(?<![.!?\u2026])[.!?\u2026]{1,8}[\"'\u201d\u2019)\\]*_]{0,4}\\s+(?=\\S)"
    "|[\u3002\uff01\uff1f][\u201d\u300d\u300f\uff09]?\\s*(?=\\S)"
)
"""What may end a sentence: the marks of European languages before a space, and the full-width ones anywhere."""
_OPENING = "\"'\u201c\u2018([*_"

LONGEST_PAIR = 320
"""In characters: a sentence that leans on another is told with it, unless the two are longer."""


def sentences(text: str) -> list[str]:
    """The sentences of one paragraph, each with the one that it leans on."""
    found: list[str] = []
    for sentence in split(" ".join(text.split())):
        first = sentence[:40].split(" ", 1)[0].strip(_OPENING + ",").lower()
        leans = found and first in LEANING and not asks(found[-1])
        if leans and len(found[-1]) + len(sentence) < LONGEST_PAIR:
            found[-1] += f" {sentence}"
        else:
            found.append(sentence)
    return found


def split(text: str) -> list[str]:
    """`text` cut after each full stop, question or exclamation mark that ends a sentence."""
    # Code is masked by as many capitals: places stay as they are, and a sentence may begin with code.
    masked = CODE.sub(lambda code: "X" * len(code[0]), text)
    cuts = [0, *(end.end() for end in _END.finditer(masked) if _ends(masked, end)), len(text)]
    parts = (text[start:stop].strip() for start, stop in pairwise(cuts))
    return [part for part in parts if part]


def asks(sentence: str) -> bool:
    """True where it ends with a question mark."""
    return sentence[-8:].rstrip("\"'\u201d\u2019)*_ ").endswith(("?", "\uff1f"))


def _ends(text: str, mark: re.Match[str]) -> bool:
    if mark[0][0] != ".":
        return True
    following = text[mark.end() : mark.end() + 4].lstrip(_OPENING)[:1]
    if following.islower():
        return False
    if mark[0].strip() != ".":
        return True
    before = text[max(0, mark.start() - 20) : mark.start()].rpartition(" ")[2].strip(_OPENING)
    initial = len(before) == 1 and before.isalpha() and before != "I"
    numbering = before.isdecimal() and mark.start() == len(before)
    numbered = before.lower() in NUMBERED and following.isdecimal()
    return not (initial or numbering or numbered or before.lower() in ABBREVIATIONS)
