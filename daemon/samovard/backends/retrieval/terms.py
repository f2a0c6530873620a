"""Terms: what a word is looked up by.

Owns the rule that a text and a question are cut into terms alike: lower case, no stop words, a light stem, and an
identifier as a whole and by its parts.
"""

from __future__ import annotations

import re
from functools import lru_cache

from .words import STOP_WORDS

PART_WEIGHT = 0.6
"""What a term counts that is a part of a longer identifier, against 1 for a word."""
LONGEST = 64
"""Characters of a word that count; a longer one is no word but data."""

_WORD = re.compile(r"\w+(?:['\u2019./:@-]{1,3}\w+)*")
"""A word, or an identifier with the marks that hold its parts together."""
_SHORTENED = re.compile("'(?:s|d|ll|m|re|ve)$", re.IGNORECASE)
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z]{2})")
_PART = re.compile(r"[^\W\d_]+|\d+")
_UNSPACED = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
_VOWEL = re.compile("[aeiouy]")
_DOUBLE = re.compile(r"([b-df-hj-np-tv-xz])\1$")


def terms(text: str) -> frozenset[str]:
    """The terms of `text`."""
    return frozenset(term for word in _WORD.findall(text) for term in _terms_of(word[:LONGEST]))


def counts(text: str) -> dict[str, float]:
    """How often each term occurs in `text`; as a part it counts `PART_WEIGHT`."""
    found: dict[str, float] = {}
    for word in _WORD.findall(text):
        weight = 1.0
        for term in _terms_of(word[:LONGEST]):
            found[term] = found.get(term, 0.0) + weight
            weight = PART_WEIGHT
    return found


def first_terms(text: str) -> tuple[str, ...]:
    """The terms of the first word that has any."""
    return next(filter(None, (_terms_of(match[0][:LONGEST]) for match in _WORD.finditer(text))), ())


@lru_cache(maxsize=1 << 16)
def _terms_of(word: str) -> tuple[str, ...]:
    """The whole first, then its parts."""
    word = _SHORTENED.sub("", word.replace("\u2019", "'"))
    whole = word.lower()
    if whole in STOP_WORDS:
        return ()
    if _UNSPACED.search(whole):
        # Scripts that don't part words: each two neighbours are a term.
        return tuple(whole[at : at + 2] for at in range(max(1, len(whole) - 1)))
    parts = [part.lower() for part in _PART.findall(_CAMEL.sub(" ", word))]
    if len(parts) < 2 or all(part.isdecimal() for part in parts):
        return (stem(whole),)
    known = (stem(part) for part in parts if len(part) > 1 and part not in STOP_WORDS)
    return tuple(dict.fromkeys((stem(whole), *known)))


def stem(word: str) -> str:
    """The word without plural, -ing, -ed, -ion and a final e; what is left need not be a word.

    Lighter than Porter's stemmer (M. F. Porter, "An algorithm for suffix stripping", 1980), whose conditions on
    vowels and double consonants it borrows.
    """
    if len(word) < 4 or not word.isalpha():
        return word
    word = _singular(word)
    for suffix in ("ing", "ed"):
        if word.endswith(suffix) and not word.endswith("eed") and _VOWEL.search(word[: -len(suffix)]):
            return _ending(word[: -len(suffix)])
    if word.endswith(("tion", "sion")) and len(word) > 5:
        word = word[:-3]
    return _ending(word)


def _singular(word: str) -> str:
    if word.endswith("ies"):
        return word[:-3] + "y"
    if word.endswith(("sses", "xes", "ches", "shes", "zes")):
        return word[:-2]
    if word.endswith("s") and not word.endswith(("ss", "us", "is")):
        return word[:-1]
    return word


def _ending(word: str) -> str:
    """Endings that differ by nothing but spelling are made one: queri(ed) and query, cancell(ed) and cancel."""
    if word.endswith("e") and len(word) > 2:
        word = word[:-1]
    if word.endswith("at") and len(word) > 6:
        word = word[:-2]
    if word.endswith("y") and len(word) > 2:
        word = word[:-1] + "i"
    return _DOUBLE.sub(r"\1", word)
