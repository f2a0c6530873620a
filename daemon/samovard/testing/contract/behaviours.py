"""What a backend promises: one id and one sentence for each behaviour, and the decorator by which a test names it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from typing import Any

from samovard.model.backend import Backend

BEHAVIOURS: Mapping[str, str] = {
    "name/one-word": "the name can stand before the slash of `backend/model`",
    "capabilities/declared": "what it can do is declared in a `Capabilities`",
    "capabilities/streams-in-parts": "a backend that says it streams gives a longer reply in more than one delta",
    "models/default-first": "there is a default model, it is listed first, and it is found by its id",
    "models/find-own": "every listed model is found by its id, as it is listed",
    "models/ids-unique": "no id is listed twice",
    "models/tested-one-found": "the model that the contract is run on is found",
    "settings/common-accepted": "`max_tokens` and `temperature` are settings of every backend",
    "settings/unknown-refused": "a setting that it does not have is refused",
    "settings/described": "every setting says what it is for",
    "stream/known-events-only": "a stream yields `TextDelta` and `Finished`, and nothing else",
    "stream/finished-once-and-last": "a stream ends with its only `Finished`",
    "stream/no-empty-delta": "every delta has text",
    "stream/usage-counts": "usage counts the prompt and the reply, in whole tokens, none below zero",
    "stream/usage-grows-with-history": "a longer history counts as more input, cached or not",
    "stream/stop-reason-known": "a reply stops for one of the two reasons there are",
    "stream/max-tokens": "a reply ends after `max_tokens`, and says that this was why",
    "stream/temperature-accepted": "a reply comes at any temperature that the settings allow",
    "stream/system-prompt-accepted": "a history may begin with a system prompt",
    "stream/conversation-accepted": "a history may hold earlier prompts and replies",
    "stream/unicode": "any text may be said, and what comes back is text",
    "stream/history-not-mutated": "the request is as it was once the reply is there",
    "stream/holds-no-conversation": "what one stream was told, the next does not know",
    "stream/repeatable": "one request can be sent twice",
    "stream/concurrent": "many streams run at once, each to an end of its own",
    "stream/waits-for-no-other": "a stream that nobody reads holds up no other",
    "stream/loop-stays-free": "the loop has its turns while a reply is made",
    "stream/cancel-at-once": "a cancelled stream ends at once, and with CancelledError",
    "stream/usable-after-cancel": "a cancelled stream leaves the backend as good as it was",
    "stream/closed-early": "a stream that is closed before its end lets go without a word",
    "errors/backend-error-only": "what fails raises BackendError, and nothing else",
    "close/idempotent-enough": "closing does no harm, twice, after streams or without any",
}
"""Id -> what is promised."""

Body = Callable[[Any, Backend], Coroutine[Any, Any, None]]


class ContractBroken(AssertionError):
    """The backend does not keep the contract; the message begins with the behaviour's id."""


def behaviour(name: str) -> Callable[[Body], Callable[[Any], None]]:
    """Makes a test of an async body that is given a backend, and closes it. `test.behaviour` is the id."""

    def decorate(body: Body) -> Callable[[Any], None]:
        def test(self: Any) -> None:
            asyncio.run(_run(self, name, body))

        test.__name__, test.__qualname__, test.__doc__ = body.__name__, body.__qualname__, BEHAVIOURS[name]
        test.behaviour = name  # type: ignore[attr-defined]
        return test

    return decorate


async def _run(contract: Any, name: str, body: Body) -> None:
    backend = contract.backend()
    try:
        await body(contract, backend)
    except ContractBroken as broken:
        raise ContractBroken(f"{name}: {BEHAVIOURS[name]}; {broken}") from broken.__cause__
    except Exception as failure:
        failure.add_note(f"{name}: {BEHAVIOURS[name]}")
        raise
    finally:
        with suppress(Exception):  # How it closes is the matter of a test of its own.
            await backend.close()


def hold(kept: bool, seen: str) -> None:
    """Raises ContractBroken with what was seen instead, where `kept` is false."""
    if not kept:
        raise ContractBroken(seen)
