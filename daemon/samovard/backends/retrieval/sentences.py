"""Sentences out of running text. Keeps code spans whole, and every sentence readable alone."""

from __future__ import annotations

import re

_CODE = re.compile(r"(`+)[^`]+?\1")
_END = re.compile(r"""(?:[.!?…]+["'”’)\]*_]*\s+|[。！？]+["”」』）]*\s*)(?=\S)""")
_OPENING = "\"'“‘([*_"
_ABBREVIATIONS = frozenset(
    "e.g i.e eg ie vs cf mr mrs ms dr prof fig figs no nos al approx resp incl st jr sr vol ca ed eds sec ch".split()
)
_LEANING = frozenset(
    "it its itself they their them these those this that he she his her such both neither otherwise instead".split()
)
"""First words by which a sentence leans on the one before it."""

LONGEST_PAIR = 320
"""In characters: a sentence that leans on another is told with it, unless the two are longer."""


def sentences(text: str) -> list[str]:
    """The sentences of one paragraph, each with the one that it leans on."""
    found: list[str] = []
    for sentence in split(" ".join(text.split())):
        first = sentence.split(" ", 1)[0].strip(_OPENING + ",").lower()
        leans = found and first in _LEANING and not found[-1].endswith("?")
        if leans and len(found[-1]) + len(sentence) < LONGEST_PAIR:
            found[-1] += f" {sentence}"
        else:
            found.append(sentence)
    return found


def split(text: str) -> list[str]:
    """`text` cut after each full stop, question or exclamation mark that ends a sentence."""
    # Code is masked by as many capitals: places stay as they are, and a sentence may begin with code.
    masked = _CODE.sub(lambda code: "X" * len(code.group()), text)
    cuts = [0, *(end.end() for end in _END.finditer(masked) if _ends(masked, end)), len(text)]
    parts = (text[start:stop].strip() for start, stop in zip(cuts, cuts[1:], strict=False))
    return [part for part in parts if part]


def _ends(text: str, mark: re.Match[str]) -> bool:
    if mark.group()[0] != ".":
        return True
    following = text[mark.end() :][:8].lstrip(_OPENING)[:1]
    if following.islower():
        return False
    before = text[text.rfind(" ", 0, mark.start()) + 1 : mark.start()].strip(_OPENING)
    initial = len(before) == 1 and before.isalpha() and before != "I"
    numbering = before.isdecimal() and mark.start() == len(before)
    return not (initial or numbering or before.lower() in _ABBREVIATIONS)
