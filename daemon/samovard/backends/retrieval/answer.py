"""What the reader replies: an acknowledgement of what it was given to read, or the sentences that fit the question."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .bm25 import Hit, Index, Unit, search
from .reading import Heard, Reading
from .sentences import asks, split
from .terms import first_terms, terms
from .words import BEFORE_A_VERB, NOTE, READ

DOES_NOT_KNOW = "I do not know: I only find what was said in this session, and nothing in it answers that."
"""The reply where nothing in the context has a term in common with the question."""

SUBJECT = 1.3
"""How much more a sentence counts that begins with what is asked about: it is likely to say what that is. Twice as
likely if it is the first under a heading of just that."""
FRACTION = 0.6
"""Of the best score: a sentence below it is left out even where there is room."""
CANDIDATES = 200
"""How many of the best are looked at, so that one sentence said many times does not crowd out the next best."""
LONGEST = 600
"""Characters that are told of one sentence."""
_NAMED = 5


def acknowledgement(present: Reading, sentences: int) -> str | None:
    """What was read or heard, where the prompt brings something and asks nothing; else None."""
    if _is_question(present.said):
        return None
    documents = [heard for heard in present.heard if heard.kind == "document"]
    replies = [heard for heard in present.heard if heard.kind == "reply"]
    verb = _first_word(present.said)
    told: list[str] = []
    if documents and (replies or not present.said or verb in READ):
        told.append(_have_read(documents))
    told += (_says(reply, sentences) for reply in replies)
    if not present.heard and verb in NOTE and present.stated.units:
        told.append(f"I have noted {_count(len(present.stated.units), 'sentence')}.")
    return "\n".join(told) or None


def _is_question(text: str) -> bool:
    return any(map(asks, split(text)))


def context(readings: Sequence[Reading]) -> list[Index]:
    """What may answer the last message: all that was said before it, and what it quotes."""
    found: list[Index] = []
    for before, reading in zip((None, *readings), readings[:-1], strict=False):
        found.append(reading.quoted)
        if not (before and _repeats(before, reading)):
            found.append(reading.stated)
    return [index for index in (*found, readings[-1].quoted) if index.units]


def _repeats(before: Reading, reading: Reading) -> bool:
    """True where `reading` is the reader's own account of the replies in the prompt before it."""
    return any(reading.said.startswith(_speaker(heard)) for heard in before.heard if heard.kind == "reply")


def answer(indexes: Sequence[Index], present: Reading, sentences: int) -> str:
    """The best `sentences` for the question, told in the order of the context."""
    best = _best(indexes, present.said)
    if not best and _is_question(present.said):
        # "My name is Ada. What is my name?": the question may bring its own answer.
        indexes = [present.stated]
        best = _best(indexes, " ".join(filter(asks, split(present.said))))
    chosen = sorted(_choose(best, indexes, present.said, sentences), key=lambda hit: (hit.place, hit.unit))
    return "\n".join(_clip(indexes[hit.place].units[hit.unit].text) for hit in chosen) or DOES_NOT_KNOW


def _best(indexes: Sequence[Index], question: str) -> list[Hit]:
    wanted = terms(question)
    hits = search(indexes, wanted, CANDIDATES)
    raised = [hit._replace(score=hit.score * _weight(indexes[hit.place].units[hit.unit], wanted)) for hit in hits]
    return sorted(raised, key=lambda hit: (-hit.score, hit.place, hit.unit))


def _weight(unit: Unit, wanted: frozenset[str]) -> float:
    """How much more the unit counts because of where it speaks of what is asked about."""
    if terms(unit.subject) == wanted:
        return SUBJECT**2
    return SUBJECT if wanted.intersection(first_terms(unit.text)) else 1.0


def _choose(best: Sequence[Hit], indexes: Sequence[Index], question: str, sentences: int) -> Iterator[Hit]:
    """The first `sentences` of `best` that are good enough; none holds another or just repeats the question."""
    asked = {_same(word) for word in question.split()} | {_same(question)}
    told: list[str] = []
    for hit in best:
        text = _same(indexes[hit.place].units[hit.unit].text)
        if len(told) == sentences or hit.score < FRACTION * best[0].score:
            return
        if text not in asked and not any(text in other or other in text for other in told):
            told.append(text)
            yield hit


def _same(text: str) -> str:
    """What two ways of writing one sentence have in common."""
    return " ".join(text.casefold().split()).strip(".!?:;`'\"")


def _clip(text: str) -> str:
    return text if len(text) <= LONGEST else text[:LONGEST].rsplit(" ", 1)[0] + " …"


def _have_read(documents: Sequence[Heard]) -> str:
    names = [document.name or "the text" for document in documents]
    if len(names) > _NAMED:
        names = [*names[: _NAMED - 1], f"{len(names) - _NAMED + 1} more"]
    listed = " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
    count = sum(document.count for document in documents)
    return f"I have read {_count(len(documents), 'document')}, {listed}: {_count(count, 'sentence')}."


def _says(reply: Heard, sentences: int) -> str:
    said = [_clip(text) for text in reply.beginning[:sentences]]
    more = " …" if reply.count > len(said) else ""
    return f"{_speaker(reply)}{' '.join(said) or 'nothing.'}{more}"


def _speaker(reply: Heard) -> str:
    return f"{reply.name or 'The reply'} says: "


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _first_word(text: str) -> str:
    words = (word.strip(",.:;!").lower() for word in text.split())
    return next((word for word in words if word not in BEFORE_A_VERB), "")
