"""Units out of Markdown: each line of it ends up in one unit at most, in the order of the text, as plain text.

Headings are no units of their own: they are what the units below them are about. So is a line that ends with a
colon or a question mark, for the block that follows it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from .bm25 import Unit
from .inline import plain
from .sentences import sentences

_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_HEADING = re.compile(r" {0,3}(#{1,6})\s+(.*?)\s*#*\s*$")
_UNDERLINE = re.compile(r" {0,3}(=+|-+)\s*$")
_RULE = re.compile(r"\s{0,3}([-*_])(\s*\1){2,}\s*$")
_ITEM = re.compile(r"\s*(?:[-*+•]|\d{1,4}[.)])\s+(?:\[[ xX]\]\s+)?(?=\S)")
_FENCE = re.compile(r"\s*(?:>\s*)*(`{3,}|~{3,})")
_QUOTE = re.compile(r"\s{0,3}>\s?(?:\[![A-Z]+\]\s*$)?")
_REFERENCE = re.compile(r"\s{0,3}\[[^\]]+\]:\s*\S+")
_TABLE_RULE = re.compile(r"\s*\|?\s*:?-+:?\s*(\|\s*:?-*:?\s*)*\|?\s*$")
_CELL = re.compile(r"(?<!\\)\|")
_RUN_IN = re.compile(r"\*\*([^*\n]{1,80})\*\*[.:]?(?=\s)")
_INTRODUCES = (":", "?")

SHORT_CODE = 8
"""Lines. Code of no more is one unit; of more, each line is."""
LONG_ITEM = 400
"""Characters. A list item of no more is one unit; of more, each sentence is."""


def units(text: str, *, title: str = "", wrapped: bool = True) -> Iterator[Unit]:
    """The units of `text`. `wrapped`: a line may go on in the next one, as people write; models don't."""
    return _Markdown(title, wrapped).read(text)


def code_units(text: str, *, title: str = "") -> Iterator[Unit]:
    """The units of a text that is code throughout."""
    return _Markdown(title, wrapped=False).code(text.splitlines())


class _Markdown:
    """Reads lines into blocks and blocks into units. `_lines` is the paragraph or item that is being read."""

    def __init__(self, title: str, wrapped: bool) -> None:
        self._wrapped = wrapped
        self._headings: list[tuple[int, str]] = [(0, title)] if title else []
        self._bare = ""
        """A heading under which nothing was found yet."""
        self._lead = ""
        self._lines: list[str] = []
        self._item = False

    def read(self, text: str) -> Iterator[Unit]:
        lines = (_COMMENT.sub("", text) if "<!--" in text else text).splitlines()
        at = 0
        while at < len(lines):
            line = lines[at]
            if fence := _FENCE.match(line):
                at = yield from self._fence(lines, at, fence.group(1))
            elif at + 1 < len(lines) and "|" in line and "|" in lines[at + 1] and _TABLE_RULE.match(lines[at + 1]):
                at = yield from self._table(lines, at)
            else:
                yield from self._line(line)
                at += 1
        yield from self._flush()
        yield from self._flush_bare()

    def _line(self, line: str) -> Iterator[Unit]:
        line = _QUOTE.sub("", line) if line.lstrip().startswith(">") else line
        if heading := _HEADING.match(line):
            yield from self._flush()
            yield from self._enter(len(heading.group(1)), heading.group(2))
        elif self._lines and not self._item and len(self._lines) == 1 and _UNDERLINE.match(line):
            title = self._lines.pop()
            yield from self._enter(1 if "=" in line else 2, title)
        elif not line.strip() or _RULE.match(line) or _REFERENCE.match(line):
            yield from self._flush()
        elif item := _ITEM.match(line):
            yield from self._flush()
            self._item = True
            self._lines.append(line[item.end() :])
        else:
            self._lines.append(line.strip())

    def _enter(self, level: int, title: str) -> Iterator[Unit]:
        """A heading begins its section, and ends those of its own level and below."""
        yield from self._flush_bare()
        while self._headings and self._headings[-1][0] >= level:
            self._headings.pop()
        self._bare, self._lead = plain(title), ""
        self._headings.append((level, self._bare))

    def _flush_bare(self) -> Iterator[Unit]:
        if self._bare:
            yield Unit(self._bare, self._about(""))
            self._bare = ""

    def _about(self, more: str) -> str:
        return " / ".join(part for part in (*(title for _, title in self._headings), self._lead, more) if part)

    def _flush(self) -> Iterator[Unit]:
        """The paragraph or item that was being read has ended."""
        lines, self._lines = self._lines, []
        item, self._item = self._item, False
        if not lines:
            return
        last = ""
        for paragraph in _paragraphs(lines, self._wrapped, item):
            for unit in self._prose(paragraph, item):
                last = unit.text
                yield unit
        if last.endswith(_INTRODUCES):
            self._lead = last
        elif not item:
            self._lead = ""

    def _prose(self, text: str, item: bool) -> Iterator[Unit]:
        self._bare = ""
        run_in = _RUN_IN.match(text)
        head = plain(run_in.group()) if run_in else ""
        if item and len(text) <= LONG_ITEM:
            found = [plain(text)]
        elif run_in:
            # A bold beginning is a heading in the line: its sentence is no answer without the next.
            found = [plain(part) for part in sentences(text[run_in.end() :].lstrip())] or [""]
            found[0] = f"{head} {found[0]}".strip()
        else:
            found = [plain(part) for part in sentences(text)]
        asked = ""
        for sentence in found:
            if sentence:
                yield Unit(sentence, self._about(asked or head))
                asked = sentence if sentence.endswith("?") else ""

    def _fence(self, lines: list[str], at: int, mark: str) -> Iterator[Unit]:
        """Code from the fence at line `at` on; returns the number of the line after it."""
        yield from self._flush()
        end = at + 1
        while end < len(lines) and not lines[end].strip().lstrip("> ").startswith(mark):
            end += 1
        yield from self.code(lines[at + 1 : end])
        self._lead = ""
        return end + 1

    def code(self, lines: list[str]) -> Iterator[Unit]:
        """Pieces that blank lines part; a short one is one unit, and tells what introduced it."""
        piece: list[str] = []
        for line in [*lines, ""]:
            if line.strip():
                piece.append(line.rstrip())
            elif piece:
                self._bare = ""
                yield from self._piece(piece)
                piece = []

    def _piece(self, lines: list[str]) -> Iterator[Unit]:
        if len(lines) <= SHORT_CODE:
            indent = min(len(line) - len(line.lstrip()) for line in lines)
            text = "\n".join(line[indent:] for line in lines)
            yield Unit(f"{self._lead}\n{text}" if self._lead.endswith(":") else text, self._about(""))
        else:
            yield from (Unit(" ".join(line.split()), self._about("")) for line in lines)

    def _table(self, lines: list[str], at: int) -> Iterator[Unit]:
        """Rows from the table's header at line `at` on; returns the number of the line after it."""
        yield from self._flush()
        self._bare = ""
        header = _cells(lines[at])
        at += 2
        while at < len(lines) and "|" in lines[at] and lines[at].strip():
            if text := _row(header, _cells(lines[at])):
                yield Unit(text, self._about(" ".join(header)))
            at += 1
        self._lead = ""
        return at


def _cells(line: str) -> list[str]:
    return [plain(cell.replace("\\|", "|").strip()) for cell in _CELL.split(line.strip().strip("|"))]


def _row(header: list[str], cells: list[str]) -> str:
    """`first: second` of two columns; of more, each cell with its column's name."""
    first, rest = cells[0], cells[1:]
    if len(cells) > 2:
        named = zip(header[1:] + [""] * len(rest), rest, strict=False)
        rest = [f"{name} {cell}" if name else cell for name, cell in named if cell]
    return ": ".join(part for part in (first, "; ".join(rest)) if part)


def _paragraphs(lines: list[str], wrapped: bool, item: bool) -> Iterator[str]:
    """The lines joined where one goes on in the next.

    A line that had room for the next one's first word was ended on purpose where a capital or a digit follows.
    """
    if item:
        yield " ".join(lines)
        return
    width = max(60, *(len(line) for line in lines)) if wrapped else 0
    joined = lines[0]
    for line, following in zip(lines, lines[1:], strict=False):
        room = len(line) + 1 + len(following.split(" ", 1)[0]) <= width
        if not wrapped or (room and (following[0].isupper() or following[0].isdigit())):
            yield joined
            joined = following
        else:
            joined += f" {following}"
    yield joined
