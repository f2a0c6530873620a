"""Plain text out of a line of Markdown: emphasis, links, images and HTML tags go; words and code spans stay.

Its patterns are bounded, so that no text takes more than time in proportion to its length.
"""

from __future__ import annotations

import html
import re

from .sentences import CODE

_MARKED = re.compile(r"[*_\[<&\\]")
_KEPT_AS_IT_IS = re.compile(CODE.pattern + r"|\\([\\`*_{}\[\]()#+.!|<>~-])")
"""A code span, or a mark that is escaped."""
_KEPT = re.compile("\x00(\\d+)\x00")
_TAGS = (
    "a|abbr|b|big|blockquote|br|center|code|dd|del|details|div|dl|dt|em|figure|font|h[1-6]|hr|i|img|ins|kbd|li|mark|ol|"
    "p|picture|pre|q|s|small|source|span|strong|sub|summary|sup|table|tbody|td|th|thead|tr|tt|u|ul|video"
)
_TARGET = r"\([^()\s]{0,500}(?:\([^()\s]{0,100}\))?[^()\s]{0,100}(?:\s\"[^\"]{0,200}\")?\)"

_REPLACED: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(rf"</?(?:{_TAGS})(?:\s[^<>]{{0,500}})?/?>", re.IGNORECASE), ""),
    (re.compile(r"<((?:https?|mailto):[^\s<>]{1,500})>"), r"\1"),
    (re.compile(rf"!\[([^\[\]]{{0,300}})\]{_TARGET}"), r"\1"),
    (re.compile(rf"\[([^\[\]]{{0,300}})\]{_TARGET}"), r"\1"),
    (re.compile(r"!?\[([^\[\]]{1,300})\]\[[^\[\]]{0,100}\]"), r"\1"),
    (re.compile(r"(\*\*|__)(?=\S)(.{1,300}?)(?<=\S)\1"), r"\2"),
    (re.compile(r"(?<![\w*])\*(?=\S)([^*]{1,300})(?<=\S)\*(?![\w*])"), r"\1"),
    (re.compile(r"(?<!\w)_(?=\S)([^_]{1,300})(?<=\S)_(?!\w)"), r"\1"),
)


def plain(text: str) -> str:
    """`text` without its marks, in one line."""
    text = " ".join(text.split())
    if not _MARKED.search(text):
        return text
    kept: list[str] = []

    def keep(found: re.Match[str]) -> str:
        kept.append(found[2] or found[0])
        return f"\x00{len(kept) - 1}\x00"

    text = _KEPT_AS_IT_IS.sub(keep, text.replace("\x00", ""))
    for pattern, replacement in _REPLACED:
        text = pattern.sub(replacement, text)
    return _KEPT.sub(lambda place: kept[int(place[1])], html.unescape(text)).strip()
