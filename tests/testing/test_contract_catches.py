"""The contract catches what it is there to catch: for every behaviour, a backend that breaks it fails its test."""

import asyncio
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from typing import Any
from unittest import SkipTest

import pytest
from pydantic import BaseModel, ConfigDict

from samovard.model.backend import (
    Backend,
    Capabilities,
    Finished,
    ModelSpec,
    Request,
    Settings,
    StreamEvent,
    TextDelta,
    Usage,
)
from samovard.model.errors import BackendError
from samovard.testing.contract import BEHAVIOURS, BackendContract, ContractBroken
from samovard.testing.fake import FakeBackend

Events = AsyncIterator[Any]


class Good:
    """A small backend that keeps the contract; those below break it in one way each."""

    name: Any = "good"
    capabilities: Any = Capabilities()
    settings_type: Any = Settings

    def models(self) -> Sequence[ModelSpec]:
        return (ModelSpec("m"), ModelSpec("n"))

    def find(self, model: str) -> ModelSpec | None:
        return next((spec for spec in Good().models() if spec.id == model), None)

    async def stream(self, request: Request) -> Events:
        words = ["one ", "two ", "three ", "four ", "five ", "six"]
        told = words[: request.settings.max_tokens]
        for word in told:
            await asyncio.sleep(0)
            yield TextDelta(word)
        yield self.finished(request, len(told), "end" if told == words else "max_tokens")

    def finished(self, request: Request, output: int, reason: str) -> Finished:
        return Finished(Usage(sum(len(message.content.split()) for message in request.history), output), reason)

    async def close(self) -> None:
        pass


async def text_of(stream: Events) -> str:
    return "".join([event.text async for event in stream if isinstance(event, TextDelta)])


# ---------------------------------------------------------------- what backends get wrong


class NameOfTwoWords(Good):
    name = "good/one"


class CapabilitiesAsText(Good):
    capabilities = "streams"


class WholeReplyAtOnce(Good):
    async def stream(self, request: Request) -> Events:
        yield TextDelta(await text_of(super().stream(request)))
        yield self.finished(request, 6, "end")


class NoModels(Good):
    def models(self) -> Sequence[ModelSpec]:
        return ()


class AnotherSpecFound(Good):
    def find(self, model: str) -> ModelSpec | None:
        return ModelSpec(model, context_window=1)


class ModelListedTwice(Good):
    def models(self) -> Sequence[ModelSpec]:
        return (ModelSpec("m"), ModelSpec("m"))


class NothingFound(Good):
    def find(self, model: str) -> ModelSpec | None:
        return None


class SettingsOfItsOwn(Good):
    class settings_type(BaseModel):
        model_config = ConfigDict(extra="forbid")


class NoTemperature(Good):
    class settings_type(Settings):
        temperature: None = None


class AnySetting(Good):
    class settings_type(Settings):
        model_config = ConfigDict(extra="ignore")


class SettingWithoutDescription(Good):
    class settings_type(Settings):
        bare: int = 3


class BareStrings(Good):
    async def stream(self, request: Request) -> Events:
        yield "zero "
        async for event in super().stream(request):
            yield event


class GoesOnAfterTheEnd(Good):
    async def stream(self, request: Request) -> Events:
        async for event in super().stream(request):
            yield event
        yield TextDelta("more")


class EndsTwice(Good):
    async def stream(self, request: Request) -> Events:
        async for event in super().stream(request):
            yield event
        yield self.finished(request, 6, "end")


class NeverEnds(Good):
    async def stream(self, request: Request) -> Events:
        async for event in super().stream(request):
            if isinstance(event, TextDelta):
                yield event


class EmptyDeltas(Good):
    async def stream(self, request: Request) -> Events:
        yield TextDelta("")
        async for event in super().stream(request):
            yield event


class CountsNothing(Good):
    def finished(self, request: Request, output: int, reason: str) -> Finished:
        return Finished(Usage(), reason)


class CountsBelowZero(Good):
    def finished(self, request: Request, output: int, reason: str) -> Finished:
        return Finished(Usage(5, output, reasoning=-1), reason)


class CountsInHalves(Good):
    def finished(self, request: Request, output: int, reason: str) -> Finished:
        return Finished(Usage(2.5, output), reason)  # type: ignore[arg-type]


class CountsThePromptAlone(Good):
    def finished(self, request: Request, output: int, reason: str) -> Finished:
        return Finished(Usage(len(request.history.content.split()), output), reason)


class ReasonOfTheProvider(Good):
    def finished(self, request: Request, output: int, reason: str) -> Finished:
        return Finished(super().finished(request, output, reason).usage, "stop_sequence")


class IgnoresMaxTokens(Good):
    async def stream(self, request: Request) -> Events:
        async for event in super().stream(Request(request.model, request.history, Settings())):
            yield event


class CutsWithoutAWord(Good):
    def finished(self, request: Request, output: int, reason: str) -> Finished:
        return super().finished(request, output, "end")


def refusing(wrong: Callable[[Request], bool]) -> type[Good]:
    """A backend that fails on some requests."""

    class Refusing(Good):
        async def stream(self, request: Request) -> Events:
            if wrong(request):
                raise BackendError("400 Bad Request")
            async for event in super().stream(request):
                yield event

    return Refusing


class CutsCharactersInHalf(Good):
    async def stream(self, request: Request) -> Events:
        for half in ("\ud83e", "\uded6"):
            yield TextDelta(half)
        yield self.finished(request, 2, "end")


class ChangesThePrompt(Good):
    async def stream(self, request: Request) -> Events:
        object.__setattr__(request.history, "content", request.history.content.strip("."))
        object.__setattr__(request.history, "role", "system")
        async for event in super().stream(request):
            yield event


class KeepsTheConversation(Good):
    def __init__(self) -> None:
        self.heard: list[str] = []

    async def stream(self, request: Request) -> Events:
        self.heard += [message.content for message in request.history]
        yield TextDelta(" ".join(self.heard))
        yield self.finished(request, 6, "end")


class AnswersOnce(Good):
    def __init__(self) -> None:
        self.answered: set[str] = set()

    async def stream(self, request: Request) -> Events:
        if request.history.id in self.answered:
            raise BackendError("409 Conflict")
        self.answered.add(request.history.id)
        async for event in super().stream(request):
            yield event


class OneBuffer(Good):
    """Streams at once take each other's words."""

    def __init__(self) -> None:
        self.words: list[str] = []

    async def stream(self, request: Request) -> Events:
        self.words = ["one ", "two ", "three"]
        while self.words:
            yield TextDelta(self.words.pop(0))
            await asyncio.sleep(0)
            if not self.words:
                return
        yield self.finished(request, 3, "end")


class OneAtATime(Good):
    def __init__(self) -> None:
        self.lock = asyncio.Lock()

    async def stream(self, request: Request) -> Events:
        async with self.lock:
            async for event in super().stream(request):
                yield event


class BlocksTheLoop(Good):
    async def stream(self, request: Request) -> Events:
        time.sleep(0.3)
        async for event in super().stream(request):
            yield event


class SwallowsCancellation(Good):
    async def stream(self, request: Request) -> Events:
        for word in ("one ", "two ", "three "):
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(0)
            yield TextDelta(word)
        yield self.finished(request, 3, "end")


class SwallowsCancellationOnceItTells(Good):
    async def stream(self, request: Request) -> Events:
        await asyncio.sleep(0)
        yield TextDelta("one ")
        try:
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            yield TextDelta("two ")
        yield self.finished(request, 2, "end")


class CallsCancellationAFailure(Good):
    async def stream(self, request: Request) -> Events:
        try:
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            raise BackendError("the connection was lost") from None
        async for event in super().stream(request):
            yield event


class LingersOnceCancelled(Good):
    async def stream(self, request: Request) -> Events:
        try:
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            await asyncio.Event().wait()
        async for event in super().stream(request):
            yield event


class LeaksAPlaceOnCancellation(Good):
    def __init__(self) -> None:
        self.places = asyncio.Semaphore(2)

    async def stream(self, request: Request) -> Events:
        await self.places.acquire()
        async for event in super().stream(request):
            yield event
        self.places.release()


class TalksWhileItIsClosed(Good):
    async def stream(self, request: Request) -> Events:
        try:
            async for event in super().stream(request):
                yield event
        finally:
            yield TextDelta("bye")


class StreamWithoutAClose(Good):
    def stream(self, request: Request) -> Any:
        class Stream:
            def __aiter__(self) -> "Stream":
                return self

            async def __anext__(self) -> StreamEvent:
                return await anext(events)

        events = super().stream(request)
        return Stream()


class Crashes(Good):
    async def stream(self, request: Request) -> Events:
        yield TextDelta("one ")
        raise ConnectionResetError("104")


class RepliesInsteadOfFailing(Good):
    pass


class RefusesASecondClose(Good):
    closed = False

    async def close(self) -> None:
        if self.closed:
            raise RuntimeError("closed already")
        self.closed = True


BROKEN: dict[str, list[type[Good]]] = {
    "name/one-word": [NameOfTwoWords],
    "capabilities/declared": [CapabilitiesAsText],
    "capabilities/streams-in-parts": [WholeReplyAtOnce],
    "models/default-first": [NoModels],
    "models/find-own": [AnotherSpecFound],
    "models/ids-unique": [ModelListedTwice],
    "models/tested-one-found": [NothingFound],
    "settings/common-accepted": [SettingsOfItsOwn, NoTemperature],
    "settings/unknown-refused": [AnySetting],
    "settings/described": [SettingWithoutDescription],
    "stream/known-events-only": [BareStrings],
    "stream/finished-once-and-last": [GoesOnAfterTheEnd, EndsTwice, NeverEnds],
    "stream/no-empty-delta": [EmptyDeltas],
    "stream/usage-counts": [CountsNothing, CountsBelowZero, CountsInHalves],
    "stream/usage-grows-with-history": [CountsThePromptAlone],
    "stream/stop-reason-known": [ReasonOfTheProvider],
    "stream/max-tokens": [IgnoresMaxTokens, CutsWithoutAWord],
    "stream/temperature-accepted": [refusing(lambda request: request.settings.temperature is not None)],
    "stream/system-prompt-accepted": [refusing(lambda request: next(iter(request.history)).role == "system")],
    "stream/conversation-accepted": [refusing(lambda request: request.history.number > 2)],
    "stream/unicode": [CutsCharactersInHalf, refusing(lambda request: not request.history.content.isascii())],
    "stream/history-not-mutated": [ChangesThePrompt],
    "stream/holds-no-conversation": [KeepsTheConversation],
    "stream/repeatable": [AnswersOnce],
    "stream/concurrent": [OneBuffer],
    "stream/waits-for-no-other": [OneAtATime],
    "stream/loop-stays-free": [BlocksTheLoop],
    "stream/cancel-at-once": [
        SwallowsCancellation,
        SwallowsCancellationOnceItTells,
        CallsCancellationAFailure,
        LingersOnceCancelled,
    ],
    "stream/usable-after-cancel": [LeaksAPlaceOnCancellation],
    "stream/closed-early": [TalksWhileItIsClosed, StreamWithoutAClose],
    "errors/backend-error-only": [Crashes, RepliesInsteadOfFailing],
    "close/idempotent-enough": [RefusesASecondClose],
}


# ---------------------------------------------------------------- the contract's own tests


def named_tests() -> dict[str, str]:
    """The contract's tests by name, each with the id that it names."""
    found = {name: getattr(BackendContract, name) for name in dir(BackendContract) if name.startswith("test")}
    return {name: test.behaviour for name, test in found.items()}


def contract_of(kind: type[Any], model: str = "m", **attributes: Any) -> Any:
    """The contract, on a backend of that kind, whose stream is also the one that is to fail."""
    made = {"model": model, "backend": lambda self: kind(), "failing": lambda self: [(kind(), model)]}
    return type("Contract", (BackendContract,), {**made, **attributes})()


def run(contract: Any, behaviour: str) -> None:
    """The test of that behaviour."""
    (name,) = [name for name, named in named_tests().items() if named == behaviour]
    getattr(contract, name)()


def test_every_behaviour_is_named_by_exactly_one_test() -> None:
    assert Counter(named_tests().values()) == Counter(BEHAVIOURS.keys())


def test_every_behaviour_is_broken_by_some_backend_here() -> None:
    assert set(BROKEN) == set(BEHAVIOURS)


@pytest.mark.parametrize("behaviour", BEHAVIOURS)
def test_a_good_backend_passes(behaviour: str) -> None:
    run(contract_of(Good, failing=lambda self: [(FakeBackend(), "cut:2")]), behaviour)


@pytest.mark.parametrize(
    ("behaviour", "kind"), [(behaviour, kind) for behaviour, kinds in BROKEN.items() for kind in kinds]
)
def test_a_backend_that_breaks_a_behaviour_fails_its_test(behaviour: str, kind: type[Good]) -> None:
    # The bounds are small since they are to be reached.
    contract = contract_of(kind, patience_s=0.2, pause_s=0.1)
    with pytest.raises((ContractBroken, BackendError)) as caught:
        run(contract, behaviour)
    told = [str(caught.value), *getattr(caught.value, "__notes__", [])]
    assert any(line.startswith(f"{behaviour}: {BEHAVIOURS[behaviour]}") for line in told)


@pytest.mark.parametrize(
    ("model", "behaviour"),
    [
        ("garbage", "stream/finished-once-and-last"),
        ("unfinished", "stream/finished-once-and-last"),
        ("crash", "errors/backend-error-only"),
    ],
)
def test_the_fakes_faults_are_caught(model: str, behaviour: str) -> None:
    with pytest.raises(ContractBroken, match=behaviour):
        run(contract_of(FakeBackend, model), behaviour)


def test_a_reply_of_one_word_needs_no_second_delta() -> None:
    run(contract_of(FakeBackend, "instant"), "capabilities/streams-in-parts")


def test_a_failure_of_a_test_is_told_with_what_was_seen() -> None:
    with pytest.raises(ContractBroken, match=r"^stream/no-empty-delta: .*; event 1 was TextDelta\(text=''\)$"):
        run(contract_of(EmptyDeltas), "stream/no-empty-delta")


def test_what_a_backend_does_not_offer_is_skipped() -> None:
    class Quiet(WholeReplyAtOnce):
        capabilities = Capabilities(streams=False)

    with pytest.raises(SkipTest):
        run(contract_of(Quiet), "capabilities/streams-in-parts")
    with pytest.raises(SkipTest):
        run(contract_of(Good, failing=lambda self: []), "errors/backend-error-only")


def test_a_contract_that_makes_no_backend_says_what_is_missing() -> None:
    class Nothing(BackendContract):
        model = "m"

    with pytest.raises(NotImplementedError, match="how its backend is made"):
        run(Nothing(), "name/one-word")


def test_the_contract_needs_no_pytest() -> None:
    code = "import sys; sys.modules['pytest'] = None; import samovard.testing.contract as c; print(len(c.BEHAVIOURS))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.strip() == str(len(BEHAVIOURS)), done.stderr


def test_good_is_a_backend() -> None:
    backend: Backend = Good()
    assert asyncio.run(text_of(backend.stream(contract_of(Good).request(backend)))) == "one two three four five six"
