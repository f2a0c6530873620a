"""What people give for a prompt or a text, made into one string: an argument, standard input, files."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from .errors import UsageError


def read_text(path: str) -> str:
    """A file's text. Raises UsageError where it isn't there or isn't UTF-8."""
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError as error:
        raise UsageError(f"the file {path!r} can't be read: {error.strerror}", code="file_unreadable") from None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(
            f"the file {path!r} is not UTF-8 text (byte {data[error.start]:#04x} at {error.start:,}); convert it first",
            code="file_not_utf8",
        ) from None


def text_or_file(value: str) -> str:
    """`@FILE` is that file's text; anything else is itself, and `@@` begins a text with an at sign."""
    if value.startswith("@@"):
        return value[1:]
    return read_text(value[1:]) if value.startswith("@") else value


def prompt_of(text: str | None, files: Sequence[str] = ()) -> str:
    """The files, each marked as a document, and then the text; a text of `-` is standard input."""
    parts = [document(path, read_text(path)) for path in files]
    if text == "-":
        text = _standard_input()
    if text:
        parts.append(text)
    if not parts:
        raise UsageError("there is no prompt: give it as an argument, `-` for standard input, or --file FILE")
    return "\n\n".join(parts)


def document(name: str, text: str) -> str:
    """A text as part of a prompt, marked with where it came from."""
    return f'<document name="{name}">\n{text}\n</document>'


def _standard_input() -> str:
    data = sys.stdin.buffer.read()
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(
            f"standard input is not UTF-8 text (byte {data[error.start]:#04x} at {error.start:,}); convert it first",
            code="file_not_utf8",
        ) from None
