"""Turns declarations into ops, and calls them. An op is told once: its signature is its schema, its docstring its help.

    @op(effect="write")
    async def fork(core: Core, *, session: SessionRef, new: NewName) -> SessionView:
        '''Starts `new` from the history of `session`; nothing is copied.'''

`call` is the one way in: it validates, times, logs, and maps every failure to a `SamovarError`.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, get_type_hints

from pydantic import ConfigDict, Field, ValidationError, create_model
from pydantic.fields import FieldInfo

from samovard import log
from samovard.core.ask import Listener
from samovard.model.errors import Internal, InvalidArgument, SamovarError, UnknownOp, nearest, shown
from samovard.model.views import OpView, ParamView

Effect = Literal["read", "write", "stop"]
"""`read` changes nothing; `write` changes sessions; `stop` ends the daemon."""

_STRICT = ConfigDict(extra="forbid", strict=True)
_LISTENER = "listener"


@dataclass(frozen=True)
class Op:
    """One op. `streams` is true where events come before the result."""

    name: str
    effect: Effect
    function: Callable[..., Awaitable[Any]]
    streams: bool

    @cached_property
    def arguments(self) -> type[Any]:
        """A pydantic model of the arguments; made at the first call, to keep the daemon's start short."""
        hints = get_type_hints(self.function, include_extras=True)
        fields: dict[str, Any] = {
            param.name: (hints[param.name], ... if param.default is param.empty else param.default)
            for param in self._parameters()
        }
        made: type[Any] = create_model(f"{self.name}_arguments", __config__=_STRICT, **fields)
        return made

    def _parameters(self) -> list[inspect.Parameter]:
        """Those that a caller gives."""
        parameters = list(inspect.signature(self.function).parameters.values())[1:]
        return [parameter for parameter in parameters if parameter.name != _LISTENER]

    def check(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments as the op takes them. Raises InvalidArgument."""
        try:
            checked = self.arguments.model_validate(arguments)
        except ValidationError as error:
            raise InvalidArgument(self._explain(error)) from None
        return {name: getattr(checked, name) for name in self.arguments.model_fields}

    def _explain(self, error: ValidationError) -> str:
        # A misspelled argument is also a missing one; the misspelling is what helps.
        first = min(error.errors(include_url=False), key=lambda found: found["type"] != "extra_forbidden")
        name = str(first["loc"][0]) if first["loc"] else "?"
        known = list(self.arguments.model_fields)
        if first["type"] == "extra_forbidden":
            return (
                f"op {self.name!r} has no argument {shown(name)}.{nearest(name, known)} "
                f"It takes: {', '.join(known) or 'none'}"
            )
        if first["type"] == "missing":
            return f"op {self.name!r} needs the argument {name!r}; it takes: {', '.join(known)}"
        return f"argument {name!r} of op {self.name!r} can't be {shown(first['input'])}: {first['msg']}"

    def view(self) -> OpView:
        """The descriptor, as `describe` serves it and the faces are made from it."""
        doc = inspect.cleandoc(self.function.__doc__ or "")
        returns = get_type_hints(self.function)["return"]
        return OpView(
            name=self.name,
            effect=self.effect,
            summary=doc.split("\n\n")[0].replace("\n", " "),
            doc=doc,
            streams=self.streams,
            params=[self._param(name, field) for name, field in self.arguments.model_fields.items()],
            returns=getattr(returns, "__name__", None) or str(returns),
        )

    def _param(self, name: str, field: FieldInfo) -> ParamView:
        return ParamView(
            name=name,
            kind=_kind(field),
            required=field.is_required(),
            default=None if field.is_required() else field.get_default(call_default_factory=True),
            doc=field.description or "",
        )


def _kind(field: FieldInfo) -> str:
    """How a face reads the argument: a plain type, or `prompt` and `text` (which may come from files)."""
    extra = field.json_schema_extra
    if isinstance(extra, dict) and "kind" in extra:
        return str(extra["kind"])
    return str(field.annotation.__name__) if isinstance(field.annotation, type) else "str"


def described(doc: str, kind: str, **constraints: Any) -> Any:
    """What an argument means and how a face reads it, for use in `Annotated`."""
    return Field(description=doc, json_schema_extra={"kind": kind}, **constraints)


OPS: dict[str, Op] = {}
"""Every op by name. Importing `samovard.ops.all` fills it."""


def op(*, effect: Effect) -> Callable[[Callable[..., Awaitable[Any]]], Callable[..., Awaitable[Any]]]:
    """Declares an op. Its name is the function's, with dashes; a `listener` parameter makes it stream."""

    def declare(function: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        name = function.__name__.rstrip("_").replace("_", "-")
        streams = _LISTENER in inspect.signature(function).parameters
        OPS[name] = Op(name, effect, function, streams)
        return function

    return declare


async def call(core: Any, name: str, arguments: Mapping[str, Any], listener: Listener | None = None) -> Any:
    """Calls an op. Raises SamovarError and CancelledError, nothing else."""
    started = time.perf_counter()
    try:
        found = OPS.get(name)
        if found is None:
            raise UnknownOp(name, OPS)
        checked = found.check(arguments)
        if found.streams:
            checked[_LISTENER] = listener
        result = await found.function(core, **checked)
    except SamovarError as error:
        log.warning("op/refused", op=name[:80], code=error.code, reason=error.message)
        raise
    except Exception as error:  # The registry's call is where the unforeseen is caught.
        log.error("op/crashed", op=name[:80], exception=error)
        raise Internal(
            f"op {name!r} failed inside samovar ({type(error).__name__}: {error}); the log has the details"
        ) from error
    log.debug("op/done", op=name, took_s=round(time.perf_counter() - started, 6))
    return result
