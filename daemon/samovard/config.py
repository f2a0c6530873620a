"""`samovar.yaml`: what a home says about its daemon. An unknown key is refused, with the file, the line and the key."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from samovard.model.errors import ConfigInvalid, nearest


class Config(BaseModel):
    """The settings of a daemon; each has a default, so that an empty file is a whole one."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    default_model: str = Field(default="reader", description="the model of a session that is spawned without one")
    grace_s: float = Field(default=10.0, ge=0, le=3600, description="how long running asks may take at a shutdown")
    log_level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="the least logged")
    log_content: bool = Field(default=False, description="log prompts and replies, not only their sizes")
    backends: dict[str, str] = Field(
        default_factory=dict, description="further backends: name -> `module:Class`, made without arguments"
    )


def read_config(file: Path) -> Config:
    """The config in `file`; the defaults where there is none. Raises ConfigInvalid."""
    try:
        text = file.read_text("utf-8")
    except FileNotFoundError:
        return Config()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigInvalid(f"{file} can't be read: {error}") from None
    import yaml  # only where there is something to parse

    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        reason = getattr(error, "problem", None) or error
        raise ConfigInvalid(f"{file}{where}: this is not YAML ({reason})") from None
    if values is None:
        return Config()
    if not isinstance(values, dict):
        raise ConfigInvalid(f"{file}, line 1: expected `key: value` lines, found {type(values).__name__}")
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        raise ConfigInvalid(_explain(file, node, error)) from None


def _explain(file: Path, node: Any, error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    path = [str(part) for part in first["loc"]]
    known = list(Config.model_fields)
    where = f"{file}, line {_line(node, path)}, key {'.'.join(path)!r}"
    if first["type"] == "extra_forbidden":
        return f"{where}: there is no such key.{nearest(path[-1], known)} It takes: {', '.join(known)}"
    return f"{where}: {first['input']!r} won't do: {first['msg']}"


def _line(node: Any, path: list[str]) -> int:
    """The line of the deepest key of `path` that the file has."""
    line = 1
    for part in path:
        pairs = node.value if node.id == "mapping" else []
        found = next(((key, value) for key, value in pairs if key.value == part), None)
        if found is None:
            break
        line, node = found[0].start_mark.line + 1, found[1]
    return line
