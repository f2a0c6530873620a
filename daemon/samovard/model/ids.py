"""Ids: what a message, an ask and a session are called."""

from __future__ import annotations

import hashlib
import re
import secrets
import time

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}")
"""What a session may be called; the colon lets workers be grouped (`review:1`)."""

MAX_PROMPT_BYTES = 16 * 1024 * 1024


def message_id(role: str, content: str, parent: str | None) -> str:
    """The hash of a message and, through `parent`, of all before it: 32 hexadecimal digits of SHA-256.

    The fields are separated by a byte that UTF-8 never holds, so no two messages can be spelled alike.
    """
    text = b"\xff".join(part.encode("utf-8", "surrogatepass") for part in (parent or "", role, content))
    return hashlib.sha256(text).hexdigest()[:32]


def ask_id() -> str:
    """A new ticket: the time in ms, then 32 random bits, so that tickets sort by age and can't be guessed."""
    return f"{time.time_ns() // 1_000_000:011x}-{secrets.token_hex(4)}"
