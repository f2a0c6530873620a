"""Blocks out of Markdown: headings, paragraphs, lists, tables and code, in the order of the text.

After CommonMark (https://spec.commonmark.org), and no more of it than telling sentences apart takes: a nested item
joins its parent, a quotation is read as what it quotes. Takes time in proportion to the text's length, whatever is
in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

_HEADING = re.compile(r" {0,3}(#{1,6})(?:\s+(.*))?$")
_UNDERLINE = re.compile(r" {0,3}(=+|-{2,})\s*$")
_NOTHING = re.compile(r"\s*$|\s{0,3}([-*_])(\s*\1){2,}\s*$|\s{0,3}\[[^\]]+\]:\s*\S+\s*$")
"""A blank line, a rule, a link's definition."""
_ITEM = re.compile(r"(\s*)(?:[-*+\u2022]|\d{1,4}[.)])\s+(?:\[[ xX]\]\s+)?(?=\S)")
_FENCE = re.compile(r"\s*(`{3,}|~{3,})")
_QUOTE = re.compile(r"(?:\s{0,3}>)+\s?(?:\[![A-Z]+\]\s*$)?")
_INDENTED = ("    ", "\t")

LONG_ITEM = 320
"""Characters: nested items join their parent up to here."""
LONGEST_ITEM = 4000
"""Characters: what goes on beyond is an item of its own."""
LONGEST_PARAGRAPH = 500
"""Lines: likewise."""

BlockKind = Literal["heading", "paragraph", "list", "table", "code"]


@dataclass(slots=True)
class Block:
    """`lines` are a list's items and else as they stand, without a fence and a table's rule. `level`: a heading's."""

    kind: BlockKind
    lines: list[str] = field(default_factory=list)
    level: int = 0


def blocks(text: str) -> Iterator[Block]:
    """The blocks of `text`."""
    lines = _without_comments(text).splitlines()
    reader = _Lines()
    at = 0
    while at < len(lines):
        line = lines[at] = _QUOTE.sub("", lines[at], count=1) if lines[at].lstrip().startswith(">") else lines[at]
        if fence := _FENCE.match(line):
            end = _fence_end(lines, at, fence[1])
            yield from reader.whole(Block("code", lines[at + 1 : end]))
            at = end + 1
        elif "|" in line and at + 1 < len(lines) and _is_table_rule(lines[at + 1]):
            end = _table_end(lines, at)
            yield from reader.whole(Block("table", [line, *lines[at + 2 : end]]))
            at = end
        elif line.startswith(_INDENTED) and line.strip() and reader.closed:
            end = _indent_end(lines, at)
            yield Block("code", lines[at:end])
            at = end
        else:
            yield from reader.line(line)
            at += 1
    yield from reader.end()


def _without_comments(text: str) -> str:
    kept, at = [], 0
    while (start := text.find("<!--", at)) >= 0 and (end := text.find("-->", start)) >= 0:
        kept.append(text[at:start])
        at = end + 3
    return "".join([*kept, text[at:]])


def _fence_end(lines: list[str], at: int, mark: str) -> int:
    end = at + 1
    while end < len(lines) and not lines[end].lstrip("> \t").startswith(mark):
        end += 1
    return end


def _is_table_rule(line: str) -> bool:
    return "|" in line and "-" in line and not line.strip(" \t|:-")


def _table_end(lines: list[str], at: int) -> int:
    end = at + 2
    while end < len(lines) and "|" in lines[end]:
        end += 1
    return end


def _indent_end(lines: list[str], at: int) -> int:
    end = at + 1
    while end < len(lines) and (lines[end].startswith(_INDENTED) or not lines[end].strip()):
        end += 1
    return end


class _Lines:
    """Gathers paragraphs and lists from their lines. `_open` is the one that the next line may belong to."""

    def __init__(self) -> None:
        self._open: Block | None = None
        self._gap = False
        """True where a blank line came since."""
        self._indent = 0
        """Of the list's last item that is not nested."""

    @property
    def closed(self) -> bool:
        """True where the next line belongs to no block that is open."""
        return self._open is None

    def end(self) -> Iterator[Block]:
        """The open block is complete."""
        block, self._open, self._gap = self._open, None, False
        if block:
            yield block

    def whole(self, block: Block) -> Iterator[Block]:
        """A block that came whole ends the open one."""
        yield from self.end()
        yield block

    def line(self, line: str) -> Iterator[Block]:
        """One more line; yields what it completes."""
        kind = self._open.kind if self._open else None
        if heading := _HEADING.match(line):
            yield from self.whole(Block("heading", [_title(heading[2] or "")], len(heading[1])))
        elif kind == "paragraph" and self._open and len(self._open.lines) == 1 and _UNDERLINE.match(line):
            title, self._open = self._open.lines, None
            yield Block("heading", title, 1 if "=" in line else 2)
        elif _NOTHING.match(line):
            self._gap = True
            if kind != "list":
                yield from self.end()
        elif item := _ITEM.match(line):
            yield from self._item(len(item[1].expandtabs()), line[item.end() :].rstrip())
        elif self._open and self._goes_on(self._open, line):
            self._go_on(self._open, line.strip())
        else:
            yield from self.end()
            self._open = Block("paragraph", [line.strip()])

    def _item(self, indent: int, text: str) -> Iterator[Block]:
        if self._open and self._open.kind != "list":
            yield from self.end()
        if self._open is None:
            self._open = Block("list", [text])
            self._indent = indent
        elif indent > self._indent + 1 and len(self._open.lines[-1]) + len(text) < LONG_ITEM:
            parent = self._open.lines[-1]
            self._open.lines[-1] = f"{parent} {text}" if parent.endswith(":") else f"{parent.rstrip(';,.')}; {text}"
        else:
            self._open.lines.append(text)
            self._indent = min(indent, self._indent + 1)
        self._gap = False

    def _goes_on(self, block: Block, line: str) -> bool:
        if block.kind == "paragraph":
            return len(block.lines) < LONGEST_PARAGRAPH
        return not self._gap or line[0].isspace()

    def _go_on(self, block: Block, line: str) -> None:
        if block.kind == "list" and len(block.lines[-1]) < LONGEST_ITEM:
            block.lines[-1] += f" {line}"
        else:
            block.lines.append(line)
        self._gap = False


def _title(text: str) -> str:
    """A heading's text without the marks that may close it."""
    bare = text.rstrip().rstrip("#")
    return bare.rstrip() if bare != bare.rstrip() or not bare else text.rstrip()
