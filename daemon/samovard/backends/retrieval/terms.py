"""Terms: what a word is looked up by.

Owns the rule that a text and a question are cut into terms alike: lower case, no stop words, a light stem, and
an identifier as a whole and by its parts.
"""

from __future__ import annotations

import re
from functools import lru_cache

WORD = re.compile(r"\w+(?:['’./:@-]+\w+)*")
"""A word, or an identifier with the marks that hold its parts together."""

PART_WEIGHT = 0.6

_PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+|[^\W\d_A-Za-z]+")
_UNSPACED = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
_VOWEL = re.compile("[aeiouy]")
_DOUBLE = re.compile(r"([b-df-hj-np-tv-xz])\1$")

STOP_WORDS = frozenset(
    """
    a about above after again all also am an and any are aren't as at be been before being below between both but by
    can can't cannot could couldn't did didn't do does doesn't doing don't down during each either else ever every
    exactly explain few for from further get gets give given gives had has hasn't have haven't having he he's hello
    her here hers hi him his how how's i i'd i'll i'm i've if in into is isn't it it's its itself just know let let's etc e.g i.e that there here how who where it what he she
    like many may me mean means might more most much must my neither no nor not now of off on once one only or other
    our ours out over own please really same say says shall she should so some such tell than thank thanks that
    that's the their theirs them then there there's these they they're this those through to too under until up upon
    us very was wasn't way we we're were weren't what what's when where where's whether which while who who's whom
    whose why will with within without won't would wouldn't yes yet you you're your yours
    """.split()
)
"""English words that a question and its answer share by chance."""


def terms(text: str) -> frozenset[str]:
    """The terms of `text`."""
    return frozenset(term for word in WORD.findall(text) for term in _terms_of(word))


def counts(text: str) -> dict[str, float]:
    """How often each term occurs in `text`; as a part of a longer identifier it counts `PART_WEIGHT`."""
    found: dict[str, float] = {}
    for word in WORD.findall(text):
        weight = 1.0
        for term in _terms_of(word):
            found[term] = found.get(term, 0.0) + weight
            weight = PART_WEIGHT
    return found


def first_terms(text: str) -> tuple[str, ...]:
    """The terms of the first word that has any."""
    return next(filter(None, (_terms_of(match.group()) for match in WORD.finditer(text))), ())


@lru_cache(maxsize=1 << 16)
def _terms_of(word: str) -> tuple[str, ...]:
    """The whole first, then its parts."""
    whole = word.replace("’", "'").lower().removesuffix("'s")
    if whole in STOP_WORDS:
        return ()
    if _UNSPACED.search(whole):
        return tuple(whole[at : at + 2] for at in range(max(1, len(whole) - 1)))
    parts = [part.lower() for part in _PART.findall(word.removesuffix("'s").removesuffix("’s"))]
    if len(parts) < 2 or all(part.isdecimal() for part in parts):
        return (stem(whole),)
    known = (stem(part) for part in parts if len(part) > 1 and part not in STOP_WORDS)
    return tuple(dict.fromkeys((stem(whole), *known)))


def stem(word: str) -> str:
    """The word without plural, -ing, -ed, -ion and a final e; what is left need not be a word.

    Lighter than Porter's stemmer (Porter 1980, "An algorithm for suffix stripping"), whose conditions on vowels
    and double consonants it borrows.
    """
    if len(word) < 4 or not word.isalpha():
        return word
    word = _singular(word)
    for suffix in ("ing", "ed"):
        if word.endswith(suffix) and not word.endswith("eed") and _VOWEL.search(word[: -len(suffix)]):
            word = word[: -len(suffix)]
            break
    else:
        word = word[:-3] if word.endswith(("tion", "sion")) and len(word) > 5 else word
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
