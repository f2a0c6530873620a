"""Plain text out of a line of Markdown: emphasis, links, images and HTML tags go; words and code spans stay."""

from __future__ import annotations

import html
import re

_MARKED = re.compile(r"[*_\[<&\\]")
_CODE = re.compile(r"(`+)[^`]+?\1")
_KEPT = re.compile("\x00(\\d+)\x00")
_TAGS = (
    "a|abbr|b|big|blockquote|br|center|code|dd|del|details|div|dl|dt|em|figure|font|h[1-6]|hr|i|img|ins|kbd|li|mark|ol|"
    "p|picture|pre|q|s|small|source|span|strong|sub|summary|sup|table|tbody|td|th|thead|tr|tt|u|ul|video"
)

_REPLACED: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(rf"</?(?:{_TAGS})(?:\s[^<>]*)?/?>", re.IGNORECASE), ""),
    (re.compile(r"<((?:https?|mailto):[^\s<>]+)>"), r"\1"),
    (re.compile(r"!\[([^\]]*)\](?:\([^)\s]*(?:\s+\"[^\"]*\")?\)|\[[^\]]*\])"), r"\1"),
    (re.compile(r"\[([^\[\]]*)\]\([^)\s]*(?:\s+\"[^\"]*\")?\)"), r"\1"),
    (re.compile(r"\[([^\[\]]+)\]\[[^\[\]]*\]"), r"\1"),
    (re.compile(r"(\*\*|__)(?=\S)(.+?)(?<=\S)\1"), r"\2"),
    (re.compile(r"(?<![\w*])\*(?=\S)([^*]+?)(?<=\S)\*(?![\w*])"), r"\1"),
    (re.compile(r"(?<!\w)_(?=\S)([^_]+?)(?<=\S)_(?!\w)"), r"\1"),
    (re.compile(r"\\([\\`*_{}\[\]()#+.!|<>~-])"), r"\1"),
)


def plain(text: str) -> str:
    """`text` without its marks, in one line."""
    text = " ".join(text.split())
    if not _MARKED.search(text):
        return text
    kept: list[str] = []

    def keep(code: re.Match[str]) -> str:
        kept.append(code.group())
        return f"\x00{len(kept) - 1}\x00"

    text = _CODE.sub(keep, text.replace("\x00", ""))
    for pattern, replacement in _REPLACED:
        text = pattern.sub(replacement, text)
    return _KEPT.sub(lambda place: kept[int(place.group(1))], html.unescape(text)).strip()
