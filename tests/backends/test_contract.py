"""The backends of this release keep the contract."""

from collections.abc import Sequence
from typing import Any

from samovard.backends.reader import ReaderBackend
from samovard.model.backend import Backend, Request
from samovard.model.message import Message, say
from samovard.testing.contract import BackendContract
from samovard.testing.fake import FakeBackend


class TestReader(BackendContract):
    """The reader, which speaks to nobody and therefore never fails."""

    model = "bm25"

    def backend(self) -> Backend:
        return ReaderBackend()


class TestReaderAtAPace(TestReader):
    """The reader between two words, so that a cancellation finds it waiting."""

    def request(
        self, backend: Backend, prompt: str | None = None, after: Message | None = None, **settings: Any
    ) -> Request:
        return super().request(backend, prompt, after, words_per_s=500.0, **settings)


class TestReaderOfALongText(TestReader):
    """The reader where reading and searching take a thread, so that a cancellation finds it there."""

    text = "The week has seven days. " * 3000

    def request(
        self, backend: Backend, prompt: str | None = None, after: Message | None = None, **settings: Any
    ) -> Request:
        return super().request(backend, prompt, say("user", self.text, after, 0.0), **settings)


class TestFake(BackendContract):
    """The fake, where it is asked to behave."""

    model = "echo"

    def backend(self) -> Backend:
        return FakeBackend()

    def failing(self) -> Sequence[tuple[Backend, str]]:
        models = ("fail:provider_error", "fail:model_unavailable", "cut:3", "nonsense")
        return [(FakeBackend(), model) for model in models]


class TestFakeAtAPace(TestFake):
    """The fake between two words, so that a cancellation finds it waiting."""

    model = "words:8:0.01"
