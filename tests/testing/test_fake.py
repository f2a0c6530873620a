"""The fake backend does what its model's id says."""

import asyncio
from typing import Any

import pytest

from samovard.model.backend import Finished, Request, Settings, StreamEvent, TextDelta, Usage
from samovard.model.errors import BackendError, ModelUnavailable
from samovard.model.message import say
from samovard.testing.fake import FakeBackend


def request(model: str, prompt: str = "Pour me\n\ta cup, please.", **settings: Any) -> Request:
    system = say("system", "You are a samovar.", None, 0.0)
    return Request(model, say("user", prompt, system, 0.0), Settings(**settings))


async def gather(model: str, into: list[StreamEvent], **settings: Any) -> None:
    async for event in FakeBackend().stream(request(model, **settings)):
        into.append(event)


def events(model: str, **settings: Any) -> list[StreamEvent]:
    found: list[StreamEvent] = []
    asyncio.run(gather(model, found, **settings))
    return found


def text(found: list[StreamEvent]) -> str:
    return "".join(event.text for event in found if isinstance(event, TextDelta))


def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What is slept from now on, without the wait."""
    real, found = asyncio.sleep, list[float]()

    async def sleep(delay: float) -> None:
        found.append(delay)
        await real(0)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    return found


def test_echo_is_the_default_and_replies_with_the_prompt() -> None:
    assert FakeBackend().models()[0].id == "echo"
    found = events("echo")
    assert text(found) == "Pour me\n\ta cup, please."
    assert found[-1] == Finished(Usage(input=9, output=5))


def test_instant_replies_in_one_delta() -> None:
    assert events("instant") == [TextDelta("ok."), Finished(Usage(9, 1))]


def test_sleep_waits_before_its_reply(monkeypatch: pytest.MonkeyPatch) -> None:
    waits = slept(monkeypatch)
    assert text(events("sleep:1.5")) == "ok."
    assert [wait for wait in waits if wait] == [1.5]


def test_words_come_with_a_pause_between_two(monkeypatch: pytest.MonkeyPatch) -> None:
    waits = slept(monkeypatch)
    found = events("words:3:0.25")
    assert found == [TextDelta("w0 "), TextDelta("w1 "), TextDelta("w2"), Finished(Usage(9, 3))]
    assert [wait for wait in waits if wait] == [0.25, 0.25]


@pytest.mark.parametrize("size", [0, 1, 99, 100, 1000, 12_345])
def test_big_replies_as_many_characters(size: int) -> None:
    assert len(text(events(f"big:{size}"))) == size


@pytest.mark.parametrize(
    ("model", "whole"), [("echo", "Pour me\n\ta cup, please."), ("words:9", "w0 w1 w2 w3 w4"), ("big:5000", "x" * 99)]
)
def test_max_tokens_counts_words(model: str, whole: str) -> None:
    found = events(model, max_tokens=2)
    assert text(found).split() == (whole.split() * 2)[:2]
    assert found[-1] == Finished(Usage(9, 2), "max_tokens")


def test_a_reply_that_just_fits_has_ended_by_itself() -> None:
    assert events("echo", max_tokens=5)[-1] == Finished(Usage(9, 5))


def test_hang_replies_nothing_and_can_be_cancelled() -> None:
    async def cancel() -> list[StreamEvent]:
        found: list[StreamEvent] = []
        task = asyncio.create_task(gather("hang", found))
        for _ in range(100):
            await asyncio.sleep(0)
        assert not task.done()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return found

    assert asyncio.run(cancel()) == []


@pytest.mark.parametrize("code", ["provider_error", "model_unavailable", "malformed_response"])
def test_fail_raises_the_error_of_that_code_before_any_text(code: str) -> None:
    found: list[StreamEvent] = []
    with pytest.raises(BackendError, match=code) as caught:
        asyncio.run(gather(f"fail:{code}", found))
    assert (caught.value.code, found) == (code, [])


def test_fail_makes_an_error_whatever_its_constructor_asks_for() -> None:
    class Particular(ModelUnavailable):
        code = "particular_to_this_test"

        def __init__(self, one: int, other: int) -> None:
            raise AssertionError(f"called with {one} and {other}")

    with pytest.raises(Particular):
        events("fail:particular_to_this_test")


def test_cut_fails_after_some_words() -> None:
    found: list[StreamEvent] = []
    with pytest.raises(BackendError, match="after 3 words"):
        asyncio.run(gather("cut:3", found))
    assert text(found) == "w0 w1 w2"
    assert all(isinstance(event, TextDelta) for event in found)


def test_crash_raises_what_no_backend_may() -> None:
    with pytest.raises(RuntimeError, match="asked to crash"):
        events("crash")


def test_garbage_goes_on_after_its_end() -> None:
    assert [type(event) for event in events("garbage")] == [TextDelta, Finished, TextDelta]


def test_unfinished_has_no_end() -> None:
    assert events("unfinished") == [TextDelta("ok.")]


@pytest.mark.parametrize(
    "nonsense",
    [
        *("", "nonsense", "Echo", "echo:", "echo:1", "hang\n"),
        *("sleep", "sleep:", "sleep:x", "sleep:-1", "sleep:nan", "sleep:1e9", "sleep:1:1"),
        *("words", "words:", "words:x", "words:3:", "words:3:x", "words:3:1:1", "words:\u0663"),
        *("big:1.5", "big:999999999", "cut", "cut:x", "fail", "fail:", "fail:nonsense", "fail:internal"),
    ],
)
def test_nonsense_is_no_model(nonsense: str) -> None:
    assert FakeBackend().find(nonsense) is None
    with pytest.raises(BackendError, match="has no model"):
        events(nonsense)
