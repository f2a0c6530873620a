"""Units out of Markdown: what can be told alone, in the order of the text, as plain text.

A heading is no unit unless nothing stands under it: it is what the units below it are about. So is a line that ends
with a colon or a question mark, for the block that follows it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise

from .blocks import LONG_ITEM, Block, blocks
from .bm25 import Unit
from .inline import plain
from .sentences import sentences

_CELL = re.compile(r"(?<!\\)\|")
_ANCHOR = re.compile(r"\[[^\]]{0,300}\]\(#[^)]{0,300}\)")
"""A line of a table of contents."""
_GOES_ON = ("(", "{", "[", ",", ":", "\\", "=>")
"""The end of a line of code that says nothing without the next."""
_BOX = re.compile("[\u2500-\u257f]+")
"""What trees of files and drawings are made of."""
_RUN_IN = re.compile(r"\*\*([^*\n]{1,80})\*\*[.:]?(?=\s)")

SHORT_CODE = 8
"""Lines. Code of no more is one unit; of more, each line is."""
SHORT_ITEM = 60
"""Characters. Items of no more are told as one with the line that introduces them."""


def units(text: str, *, title: str = "", wrapped: bool = True) -> Iterator[Unit]:
    """The units of `text`. `wrapped`: a line may go on in the next one, as people write; models don't."""
    section = _Section(title, wrapped)
    for block in blocks(text):
        yield from section.take(block)
    yield from section.end()


def code_units(text: str, *, title: str = "") -> Iterator[Unit]:
    """The units of a text that is code throughout."""
    return _Section(title, wrapped=False).take(Block("code", text.splitlines()))


class _Section:
    """Where in the text a block stands, and so what its units are about."""

    def __init__(self, title: str, wrapped: bool) -> None:
        self._wrapped = wrapped
        self._headings: list[tuple[int, str]] = [(0, title)] if title else []
        self._bare = ""
        """The heading, while nothing is told under it."""
        self._lead = ""
        """The sentence that introduces the next block."""
        self._held: Unit | None = None
        """The unit of `_lead`, until it is known whether the next block tells it."""

    def take(self, block: Block) -> Iterator[Unit]:
        """The units that are complete with this block."""
        if block.kind == "heading":
            yield from self.end()
            self._enter(block.level, plain(block.lines[0]))
            return
        made = {"paragraph": self._paragraph, "list": self._list, "table": self._table, "code": self._code}
        yield from map(self._first, made[block.kind](block.lines))

    def end(self) -> Iterator[Unit]:
        """What is told of the section itself."""
        yield from map(self._first, self._release())
        if self._bare:
            yield Unit(self._bare, self._about())
        self._bare, self._lead = "", ""

    def _first(self, unit: Unit) -> Unit:
        """The unit, which knows its heading where it is the first under it."""
        heading, self._bare = self._bare, ""
        return Unit(unit.text, unit.about, heading) if heading else unit

    def _enter(self, level: int, title: str) -> None:
        while self._headings and self._headings[-1][0] >= level:
            self._headings.pop()
        self._headings.append((level, title))
        self._bare = title

    def _about(self, more: str = "") -> str:
        return " / ".join(part for part in (*(title for _, title in self._headings), self._lead, more) if part)

    def _release(self) -> Iterator[Unit]:
        held, self._held = self._held, None
        if held:
            yield held

    def _paragraph(self, lines: list[str]) -> Iterator[Unit]:
        yield from self._release()
        found = [unit for text in joined(lines, self._wrapped) for unit in self._prose(text)]
        self._lead = found[-1].text if found and found[-1].text.endswith((":", "?")) else ""
        if self._lead.endswith(":"):
            self._held = found.pop()
        yield from found

    def _prose(self, text: str) -> Iterator[Unit]:
        run_in = _RUN_IN.match(text)
        head = plain(run_in[0]) if run_in else ""
        found = [plain(part) for part in sentences(text[run_in.end() if run_in else 0 :])]
        if head:
            # A bold beginning is a heading within its line, and no answer without the sentence after it.
            found = [" ".join([head, *found[:1]]), *found[1:]]
        asked = ""
        for sentence in filter(None, found):
            yield Unit(sentence, self._about(asked or head))
            asked = sentence if sentence.endswith("?") else ""

    def _list(self, lines: list[str]) -> Iterator[Unit]:
        lines = [line for line in lines if re.search(r"\w", _ANCHOR.sub("", line))]
        items = [plain(line) for line in lines]
        if not items:
            return
        lead = self._lead if self._lead.endswith(":") else f"{self._bare}:" if self._bare else ""
        if lead and max(map(len, items)) <= SHORT_ITEM and sum(map(len, items)) <= LONG_ITEM:
            self._held = None
            yield Unit(f"{lead} {'; '.join(item.rstrip('.;,') for item in items)}.", self._about())
        else:
            yield from self._release()
            for line, item in zip(lines, items, strict=True):
                yield from [Unit(item, self._about())] if len(item) <= LONG_ITEM else self._prose(line)
        self._lead = items[-1] if items[-1].endswith(":") else ""

    def _table(self, lines: list[str]) -> Iterator[Unit]:
        yield from self._release()
        header = _cells(lines[0])
        for line in lines[1:]:
            if text := _row(header, _cells(line)):
                yield Unit(text, self._about(" ".join(header)))
        self._lead = ""

    def _code(self, lines: list[str]) -> Iterator[Unit]:
        """Pieces that blank lines part; the first tells what introduced it, if it is short."""
        piece: list[str] = []
        for line in [*lines, ""]:
            if line.strip():
                piece.append(line.rstrip())
            elif piece:
                yield from self._piece(piece)
                piece = []
        self._lead = ""

    def _piece(self, lines: list[str]) -> Iterator[Unit]:
        held, self._held = self._held, None
        if len(lines) <= SHORT_CODE:
            text = dedented(lines)
            yield Unit(f"{held.text}\n{text}" if held else text, self._about())
            return
        yield from [held] if held else []
        open_lines: list[str] = []
        for line in lines:
            open_lines.append(line)
            if not line.endswith(_GOES_ON) or len(open_lines) == SHORT_CODE:
                yield from self._code_unit(open_lines)
                open_lines = []
        yield from self._code_unit(open_lines)

    def _code_unit(self, lines: list[str]) -> Iterator[Unit]:
        if text := dedented(lines):
            yield Unit(text, self._about())


def dedented(lines: list[str]) -> str:
    """The lines as one text, without the white space that all begin with; one line alone without any that aligns it."""
    if len(lines) == 1:
        return " ".join(_BOX.sub(" ", lines[0]).split())
    if not lines:
        return ""
    indent = min(len(line) - len(line.lstrip()) for line in lines)
    return "\n".join(line[indent:].rstrip() for line in lines)


def _cells(line: str) -> list[str]:
    return [plain(cell.replace("\\|", "|")) for cell in _CELL.split(line.strip().removeprefix("|").removesuffix("|"))]


def _row(header: list[str], cells: list[str]) -> str:
    """`first: second` of two columns; of more, each cell with its column's name."""
    first, rest = cells[0], cells[1:]
    if len(rest) > 1:
        names = header[1:] + [""] * len(rest)
        rest = [f"{name} {cell}".strip() if cell else "" for name, cell in zip(names, rest, strict=False)]
    return ": ".join(part for part in (first, "; ".join(filter(None, rest))) if part)


def joined(lines: list[str], wrapped: bool) -> Iterator[str]:
    """The lines of a paragraph, joined where one goes on in the next.

    One that is much shorter than the longest was ended on purpose, where a capital or a digit follows; so was a
    sentence before a bold beginning.
    """
    short = max(60, *map(len, lines)) * 0.6
    text = [lines[0]]
    for line, following in pairwise(lines):
        capital = following[0].isupper() or following[0].isdigit()
        run_in = line.endswith((".", "!", "?", ":")) and _RUN_IN.match(following)
        if not wrapped or run_in or (capital and len(line) <= short):
            yield " ".join(text)
            text = [following]
        else:
            text.append(following)
    yield " ".join(text)
