"""What a backend says of itself: name, capabilities, models, settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from unittest import SkipTest

from samovard.model.backend import Backend, Capabilities, ModelSpec, Settings, TextDelta

from .asking import Asking
from .behaviours import behaviour, hold


class Declarations(Asking):
    """The tests of what a backend declares."""

    @behaviour("name/one-word")
    async def test_the_name_is_one_word(self, backend: Backend) -> None:
        word = backend.name.replace("-", "").replace("_", "")
        hold(word.isascii() and word.isalnum() and word.islower(), f"it is called {backend.name!r}")

    @behaviour("capabilities/declared")
    async def test_its_capabilities_are_declared(self, backend: Backend) -> None:
        hold(isinstance(backend.capabilities, Capabilities), f"they are {backend.capabilities!r}")

    @behaviour("capabilities/streams-in-parts")
    async def test_a_backend_that_streams_gives_a_longer_reply_in_parts(self, backend: Backend) -> None:
        if not backend.capabilities.streams:
            raise SkipTest("it does not stream")
        reply = await self.reply(backend)
        deltas = sum(isinstance(event, TextDelta) for event in reply.events)
        hold(deltas > 1 or len(reply.text.split()) < 3, f"{reply.text[:80]!r} came in {deltas} delta")

    @behaviour("models/default-first")
    async def test_the_default_model_is_listed_first_and_found(self, backend: Backend) -> None:
        models = backend.models()
        hold(len(models) > 0, "no model is listed")
        hold(backend.find(models[0].id) is not None, f"{models[0].id!r} is listed first and not found")

    @behaviour("models/find-own")
    async def test_every_listed_model_is_found(self, backend: Backend) -> None:
        for spec in backend.models():
            found = backend.find(spec.id)
            hold(isinstance(spec, ModelSpec) and found == spec, f"{spec!r} is listed, {found!r} is found")

    @behaviour("models/ids-unique")
    async def test_no_model_is_listed_twice(self, backend: Backend) -> None:
        ids = [spec.id for spec in backend.models()]
        hold(len(set(ids)) == len(ids), f"the ids are {ids}")

    @behaviour("models/tested-one-found")
    async def test_the_tested_model_is_found(self, backend: Backend) -> None:
        found = backend.find(self.model)
        hold(found is not None and found.id == self.model, f"{self.model!r} is asked for, {found!r} is found")

    @behaviour("settings/common-accepted")
    async def test_the_common_settings_are_accepted(self, backend: Backend) -> None:
        kind = backend.settings_type
        hold(issubclass(kind, Settings), f"{kind!r} does not extend Settings")
        made = _validated(kind, {"max_tokens": 5, "temperature": 0.5})
        hold(made is not None, "it refuses them")
        hold((made.max_tokens, made.temperature) == (5, 0.5) if made else False, f"it makes {made!r} of them")

    @behaviour("settings/unknown-refused")
    async def test_an_unknown_setting_is_refused(self, backend: Backend) -> None:
        made = _validated(backend.settings_type, {"no_such_setting": 1})
        hold(made is None, f"it makes {made!r} of one")

    @behaviour("settings/described")
    async def test_every_setting_is_described(self, backend: Backend) -> None:
        bare = [name for name, field in backend.settings_type.model_fields.items() if not field.description]
        hold(not bare, f"{', '.join(bare)} are not described")


def _validated(kind: type[Settings], values: Mapping[str, Any]) -> Settings | None:
    try:
        return kind.model_validate(dict(values))
    except ValueError:  # pydantic's ValidationError is one
        return None
