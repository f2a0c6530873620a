"""The texts that the core takes and makes: prompts that are checked, replies that are passed on."""

from __future__ import annotations

from samovard.model.errors import EmptyPrompt, InvalidArgument, PromptTooLarge
from samovard.model.ids import MAX_PROMPT_BYTES


def relayed(source: str, reply: str, note: str | None) -> str:
    """The prompt by which one session's reply reaches another."""
    quoted = f'<reply session="{source}">\n{reply}\n</reply>'
    return f"{note}\n\n{quoted}" if note else quoted


def checked_text(text: str) -> str:
    """The text, where it can be kept. Raises InvalidArgument and PromptTooLarge."""
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        raise InvalidArgument(
            f"the text has a character that is no Unicode text ({text[error.start]!r} at {error.start}); remove it"
        ) from None
    if size > MAX_PROMPT_BYTES:
        raise PromptTooLarge(size, MAX_PROMPT_BYTES)
    return text


def checked_prompt(prompt: str) -> str:
    """The prompt, where it can be asked. Raises EmptyPrompt, InvalidArgument and PromptTooLarge."""
    if not prompt.strip():
        raise EmptyPrompt
    return checked_text(prompt)
