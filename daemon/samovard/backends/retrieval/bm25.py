"""BM25 over units of text: which of them fit a question best.

After Robertson & Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond" (2009), with the simple extension
to weighted fields by Robertson, Zaragoza & Taylor (CIKM 2004): a unit's own terms count fully, those of what it
stands under (its heading, the line that introduces its list) count for less. An index never changes once made, so
threads may share it.
"""

from __future__ import annotations

import heapq
import math
from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from .terms import counts, terms

K1 = 1.5
B = 0.55
"""Both from the range that the survey reports as good (1.2 to 2, 0.5 to 0.8); a low `B`, since a long sentence says
more and seldom repeats itself. For the same reason one that is shorter than the mean counts as having its length."""
ABOUT_WEIGHT = 0.5
"""For a term that a unit is under, against 1 for one of its own."""
SUBJECT_WEIGHT = 0.75
"""For a term of the heading that a unit is the first under."""


@dataclass(frozen=True, slots=True)
class Unit:
    """What is told as one: a sentence, a list item, a table's row, a short piece of code."""

    text: str
    about: str = ""
    """What it stands under: the headings, and the line that introduces it."""
    subject: str = ""
    """The heading that it is the first unit under, and so the most likely to say what that is."""


class Postings:
    """The units that hold a term, and each one's weighted count of it. `holders` counts a unit by that, up to 1."""

    __slots__ = ("counts", "holders", "units")

    def __init__(self) -> None:
        self.units = array("I")
        self.counts = array("f")
        self.holders = 0.0

    def add(self, unit: int, count: float) -> None:
        """One more unit that holds it."""
        self.units.append(unit)
        self.counts.append(count)
        self.holders += min(1.0, count)


class Hit(NamedTuple):
    """A unit that fits: its score, the place of its index, its number there."""

    score: float
    place: int
    unit: int


class Index:
    """Units, and for each term where it occurs."""

    __slots__ = ("lengths", "postings", "total", "units")

    def __init__(self, units: Iterable[Unit], stopped: Callable[[], bool] = lambda: False) -> None:
        self.units: list[Unit] = []
        self.lengths = array("f")
        """The count of each unit's own terms."""
        self.postings: dict[str, Postings] = {}
        for unit in units:
            if stopped():
                break
            self._add(unit)
        self.total = sum(self.lengths)

    def _add(self, unit: Unit) -> None:
        held = counts(unit.text)
        self.lengths.append(sum(held.values()))
        subject = _terms_of(unit.subject)
        for term in _terms_of(unit.about):
            held[term] = held.get(term, 0.0) + (SUBJECT_WEIGHT if term in subject else ABOUT_WEIGHT)
        for term, count in held.items():
            if term not in self.postings:
                self.postings[term] = Postings()
            self.postings[term].add(len(self.units), count)
        self.units.append(unit)


@lru_cache(maxsize=1024)
def _terms_of(text: str) -> frozenset[str]:
    return terms(text)


def cost(indexes: Sequence[Index], wanted: Iterable[str]) -> int:
    """How many postings a search goes through, so that its caller can tell a short one from a long one."""
    return sum(len(found.units) for term in wanted for i in indexes if (found := i.postings.get(term)))


def search(indexes: Sequence[Index], wanted: Iterable[str], at_most: int) -> list[Hit]:
    """The units that share a term with `wanted`, the best first, of equal ones the earlier. Counts over all indexes."""
    number = sum(len(index.lengths) for index in indexes)
    mean = (sum(index.total for index in indexes) / number if number else 0) or 1
    scores: list[dict[int, float]] = [{} for _ in indexes]
    for term in dict.fromkeys(wanted):
        found = [(place, index.postings[term]) for place, index in enumerate(indexes) if term in index.postings]
        holders = sum(postings.holders for _, postings in found)
        idf = math.log(1 + (number - holders + 0.5) / (holders + 0.5))
        for place, postings in found:
            lengths, into = indexes[place].lengths, scores[place]
            for unit, count in zip(postings.units, postings.counts, strict=True):
                norm = K1 * (1 - B + B * max(1.0, lengths[unit] / mean))
                into[unit] = into.get(unit, 0.0) + idf * count * (K1 + 1) / (count + norm)
    hits = (Hit(score, place, unit) for place, into in enumerate(scores) for unit, score in into.items())
    return heapq.nsmallest(at_most, hits, key=lambda hit: (-hit.score, hit.place, hit.unit))
