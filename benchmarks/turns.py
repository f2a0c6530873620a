"""A long conversation: its 1,000th turn against its 10th, and what it leaves on disk.

The model says the prompt again, about 1 KB, so that a turn adds 2 KB of text. One session is brought to turn 950; then
its turns 951 to 1,000 and the turns 5 to 55 of a new session are asked alternately, so that noise hits both alike.
The journal is what is in the home's `sessions` folder; beside it is the text alone, prompts and replies.
"""

from __future__ import annotations

from itertools import count

from benchmarks.figure import Figure
from benchmarks.homes import daemon, home, size_of
from benchmarks.stopwatch import collected, percentile, repeated
from samovar import Client, Home

_FILLER = "the samovar hums and the tea is strong " * 26
_WARM_UP = 5


class _Talk:
    """A session, and how much was said in it."""

    def __init__(self, client: Client, name: str) -> None:
        client.spawn(name, model="bench/again")
        self.said_mb = 0.0
        self._client, self._name, self._numbers = client, name, count()

    def turn(self) -> None:
        prompt = f"{self._name}, turn {next(self._numbers)}: {_FILLER}"
        reply = self._client.ask(self._name, prompt)
        self.said_mb += (len(prompt) + len(reply.text)) / 1e6


def figures(quick: bool) -> list[Figure]:
    """Time and size."""
    turns, window = (60, 20) if quick else (1000, 50)
    with home() as new:
        with daemon(new), Client(new, start=False) as client:
            old, young = _Talk(client, "old"), _Talk(client, "young")
            repeated(old.turn, turns - window)
            repeated(young.turn, _WARM_UP)
            late, early = collected(window, lambda: repeated(old.turn, 1), lambda: repeated(young.turn, 1))
            running = _journal_mb(new)
        said = old.said_mb + young.said_mb
        return [
            Figure(f"turn {turns:,}, p50", percentile(late, 50), "ms", percentile(early, 50), "turn 10", 1.2),
            Figure(f"journal after {turns:,} turns, daemon stopped", _journal_mb(new), "MB", said, "its text", 3),
            Figure(f"journal after {turns:,} turns, daemon running", running, "MB", said, "its text", 3),
        ]


def _journal_mb(new: Home) -> float:
    return size_of(new.sessions) / 1e6
