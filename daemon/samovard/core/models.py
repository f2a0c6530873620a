"""Which models there are, and the backend behind each. A backend is imported when its first model is named."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ConfigDict, ValidationError

from samovard.model.backend import Backend, Capabilities, ModelSpec, Request, Settings, StreamEvent
from samovard.model.errors import InvalidArgument, ModelUnavailable, SamovarError, UnknownModel, nearest, shown
from samovard.model.views import ModelView

BackendLoader = Callable[[], Backend]

COMING: Mapping[str, tuple[str, ...]] = {
    "claude": ("opus", "sonnet", "haiku"),
    "ollama": (),
    "gemini": (),
    "vllm": (),
    "openai": (),
}
"""Backends, with their aliases, that are spoken of and not there yet: naming one is told apart from a misspelling."""


@dataclass(frozen=True, slots=True)
class Model:
    """A model that a session can be spawned on. `name` finds it again."""

    name: str
    backend: Backend
    spec: ModelSpec


class Models:
    """Finds models by name: an alias, a backend (its default model), or `backend/id`."""

    def __init__(self, loaders: Mapping[str, BackendLoader], default: str) -> None:
        self._loaders = dict(loaders)
        self._loaded: dict[str, Backend] = {}
        self.default = default

    def find(self, name: str | None) -> Model:
        """The model called `name`, else the default. Raises UnknownModel and ModelUnavailable."""
        name = name or self.default
        head, _, rest = name.partition("/")
        if head in self._loaders:
            backend = self._backend(head)
            spec = backend.find(rest) if rest else backend.models()[0]
            if spec:
                return Model(name, backend, spec)
            raise UnknownModel(name, [view.model for view in self.views()])
        self._refuse_coming(name, head)
        raise UnknownModel(name, [view.model for view in self.views()])

    def find_again(self, name: str) -> Model:
        """The model of a session that is there already. Where it is gone, asking it says so; all else works."""
        try:
            return self.find(name)
        except SamovarError as error:
            return Model(name, _Gone(error), ModelSpec(name))

    def _refuse_coming(self, name: str, head: str) -> None:
        for backend, aliases in COMING.items():
            if head == backend or name in aliases:
                raise ModelUnavailable(
                    f"model {shown(name)} belongs to {backend}, which this release does not speak yet; "
                    f"until then use {self.default!r}"
                )

    def _backend(self, name: str) -> Backend:
        if name not in self._loaded:
            self._loaded[name] = self._loaders[name]()
        return self._loaded[name]

    def views(self) -> list[ModelView]:
        """All models that are there or coming, the default first."""
        found = [*self._there(), *self._coming()]
        return sorted(found, key=lambda view: not view.default)

    def _there(self) -> Iterator[ModelView]:
        for name in self._loaders:
            try:
                specs = self._backend(name).models()
            except SamovarError as error:
                yield ModelView(name, name, "", False, False, None, None, error.message)
                continue
            for place, spec in enumerate(specs):
                model = name if place == 0 else f"{name}/{spec.id}"
                yield ModelView(
                    model=model,
                    backend=name,
                    id=spec.id,
                    available=True,
                    default=model == self.default,
                    context_window=spec.context_window,
                    max_output=spec.max_output,
                    description=spec.description,
                )

    def _coming(self) -> Iterator[ModelView]:
        for backend, aliases in COMING.items():
            for model in aliases or (backend,):
                yield ModelView(model, backend, model, False, False, None, None, "not spoken by this release yet")

    async def close(self) -> None:
        """Closes every backend that was loaded."""
        for backend in self._loaded.values():
            await backend.close()


class _AnySettings(Settings):
    model_config = ConfigDict(extra="allow", frozen=True)


class _Gone:
    """Stands in for the backend of a model that was there when its session was spawned, and is not any more."""

    name = "gone"
    capabilities = Capabilities()
    settings_type = _AnySettings

    def __init__(self, error: SamovarError) -> None:
        self._error = error

    def models(self) -> list[ModelSpec]:
        return []

    def find(self, model: str) -> ModelSpec | None:
        return None

    async def stream(self, request: Request) -> AsyncGenerator[StreamEvent, None]:
        raise self._error
        yield  # A generator, as every backend's stream is.

    async def close(self) -> None:
        pass


def settings_of(model: Model, values: Mapping[str, Any]) -> Settings:
    """The settings that the model's backend makes of `values`. Raises InvalidArgument."""
    try:
        return model.backend.settings_type.model_validate(dict(values))
    except ValidationError as error:
        first = error.errors()[0]
        key = str(first["loc"][0]) if first["loc"] else ""
        known = list(model.backend.settings_type.model_fields)
        if first["type"] == "extra_forbidden":
            reason = (
                f"model {model.name!r} has no setting {shown(key)}.{nearest(key, known)} It has: {', '.join(known)}"
            )
        else:
            reason = f"setting {shown(key)} of model {model.name!r} can't be {shown(first['input'])}: {first['msg']}"
        raise InvalidArgument(reason) from None


def settings_across(model: Model, values: Mapping[str, Any]) -> dict[str, Any]:
    """Those of `values` that mean the same for every backend, for a fork onto another model."""
    own = set(model.backend.settings_type.model_fields)
    return {key: value for key, value in values.items() if key in own}
