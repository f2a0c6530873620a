"""Writes what is made from the declarations: the client's typed API, its table of ops, docs/ops.md, the diagrams.

The outputs are checked in; `python -m samovard.generate --check` fails where one is stale. Run in a checkout.
"""

from __future__ import annotations

import dataclasses
import enum
import inspect
import re
import subprocess
import sys
import types
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_type_hints

from samovar.errors import CODES as CLIENT_CODES
from samovard.model import states, views
from samovard.model.errors import SamovarError, codes
from samovard.ops.all import OPS
from samovard.ops.registry import Op

NOTICE = "Made by `invoke generate`; changes here are lost."


def outputs(root: Path) -> dict[Path, str]:
    """Path -> what it is to hold."""
    architecture = root / "docs/architecture.md"
    python = {
        root / "client/samovar/results.py": results_module(),
        root / "client/samovar/ops.py": ops_module(),
        root / "client/samovar/api.py": api_module(),
    }
    found = {path: _formatted(text, root) for path, text in python.items()}
    found[root / "docs/ops.md"] = ops_page()
    if architecture.exists():
        found[architecture] = with_diagrams(architecture.read_text("utf-8"))
    return found


def _formatted(text: str, root: Path) -> str:
    command = [sys.executable, "-m", "ruff", "format", "--stdin-filename", "client/samovar/x.py", "-"]
    return subprocess.run(command, input=text, capture_output=True, text=True, check=True, cwd=root).stdout


# Results


def view_classes() -> list[type[Any]]:
    """The dataclasses that ops return, each after those it holds."""
    ordered: list[type[Any]] = []

    def add(kind: type[Any]) -> None:
        if kind in ordered:
            return
        for hint in get_type_hints(kind).values():
            for inner in _dataclasses_in(hint):
                add(inner)
        ordered.append(kind)

    for _, kind in inspect.getmembers(views, inspect.isclass):
        if kind.__module__ == views.__name__:
            add(kind)
    return ordered


def _dataclasses_in(hint: Any) -> Iterator[type[Any]]:
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        yield hint
    for inner in typing.get_args(hint):
        yield from _dataclasses_in(inner)


def spelled(hint: Any) -> str:
    """A type as the client writes it."""
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return "Literal[" + ", ".join(repr(member.value) for member in hint) + "]"
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return " | ".join(spelled(part) for part in inner)
    if origin is list:
        return f"builtins.list[{spelled(inner[0])}]"
    if origin is dict:
        return f"dict[{spelled(inner[0])}, {spelled(inner[1])}]"
    if hint is type(None):
        return "None"
    return "Any" if hint is Any else str(hint.__name__)


def read_from(hint: Any, value: str) -> str:
    """The expression that makes `hint` of the plain data `value`."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return f"{hint.__name__}.from_wire({value})"
    if origin in (typing.Union, types.UnionType):
        part = next(part for part in inner if part is not type(None))
        made = read_from(part, value)
        return made if made == value else f"{made} if {value} is not None else None"
    if origin is list:
        made = read_from(inner[0], "item")
        return value if made == "item" else f"[{made} for item in {value}]"
    return value


def results_module() -> str:
    """The text of `samovar/results.py`."""
    parts = [
        f'"""What ops return. {NOTICE}"""\n\nfrom __future__ import annotations\n\nimport builtins\n'
        "from typing import Any, Literal, NamedTuple\n\n"
    ]
    for kind in view_classes():
        hints = get_type_hints(kind)
        notes = _attribute_docs(kind)
        parts.append(f'\n\nclass {kind.__name__}(NamedTuple):\n    """{inspect.getdoc(kind)}"""\n\n')
        for name, hint in hints.items():
            parts.append(f"    {name}: {spelled(hint)}\n")
            if name in notes:
                parts.append(f'    """{notes[name]}"""\n')
        fields = "".join(f"{name}={read_from(hint, f'data[{name!r}]')}, " for name, hint in hints.items())
        parts.append(
            "\n    @classmethod\n"
            f"    def from_wire(cls, data: dict[str, Any]) -> {kind.__name__}:\n"
            f'        """From the plain data that a daemon sends; unknown fields are left out."""\n'
            f"        return cls({fields})\n"
        )
    return "".join(parts)


def _attribute_docs(kind: type[Any]) -> dict[str, str]:
    source = inspect.getsource(kind)
    return dict(re.findall(r'^    (\w+): [^\n]+\n    """(.+?)"""', source, re.MULTILINE | re.DOTALL))


# The typed API


def _signature(op: Op) -> list[inspect.Parameter]:
    return [p for p in inspect.signature(op.function).parameters.values() if p.name not in ("core", "listener")]


def _argument(op: Op, parameter: inspect.Parameter) -> str:
    hint = get_type_hints(op.function)[parameter.name]
    field = op.arguments.model_fields[parameter.name]
    if field.is_required():
        return f"{parameter.name}: {spelled(hint)}"
    default = field.get_default(call_default_factory=True)
    if isinstance(default, dict):
        return f"{parameter.name}: {spelled(hint)} | None = None"
    return f"{parameter.name}: {spelled(hint)} = {default!r}"


def _method(op: Op, *, asynchronous: bool) -> str:
    parameters = _signature(op)
    required = [p for p in parameters if op.arguments.model_fields[p.name].is_required()]
    optional = [p for p in parameters if p not in required]
    listed = ["self", *(_argument(op, p) for p in required)]
    listed += ["*", *(_argument(op, p) for p in optional)] if optional else []
    returns = get_type_hints(op.function)["return"]
    given = "".join(f", {p.name}={p.name}" for p in parameters)
    fetch = f'await self._ask_for("{op.name}"{given})' if asynchronous else f'self._ask_for("{op.name}"{given})'
    doc = inspect.cleandoc(op.function.__doc__ or "").replace("\n", "\n        ")
    ending = "\n        " if "\n" in doc else ""
    head = f"{'async ' if asynchronous else ''}def {op.name.replace('-', '_')}({', '.join(listed)})"
    return (
        f"    {head} -> {spelled(returns)}:\n"
        f'        """{doc}{ending}"""\n'
        f"        found = {fetch}\n"
        f"        return {read_from(returns, 'found')}\n\n"
    )


_API = '''class {name}:
    """One method per op. The transport that a subclass brings is `call`."""

    {a}def call(self, op: str, **args: Any) -> Any:
        """Calls an op by name and returns its result as plain data."""
        raise NotImplementedError

    {a}def _ask_for(self, op: str, **args: Any) -> Any:
        """Calls an op with those of its arguments that were given."""
        return {w}self.call(op, **{{name: value for name, value in args.items() if value is not None}})

'''


def api_module() -> str:
    """The text of `samovar/api.py`."""
    used = sorted(
        {kind.__name__ for op in OPS.values() for kind in _dataclasses_in(get_type_hints(op.function)["return"])}
    )
    text = (
        f'"""One typed method per op, blocking and awaited. {NOTICE}"""\n\nfrom __future__ import annotations\n\n'
        f"import builtins\nfrom typing import Any\n\nfrom .results import {', '.join(used)}\n\n\n"
    )
    for name, asynchronous in (("Api", False), ("AsyncApi", True)):
        text += _API.format(name=name, a="async " if asynchronous else "", w="await " if asynchronous else "")
        text += "".join(_method(OPS[op], asynchronous=asynchronous) for op in sorted(OPS)) + "\n"
    return text


def ops_module() -> str:
    """The text of `samovar/ops.py`: the table that the command line and the Invoke tasks are made from."""
    text = (
        f'"""The table of ops, for faces that are made from it. {NOTICE}"""\n\nfrom __future__ import annotations\n\n'
        "from typing import Any, NamedTuple\n\n\nclass Param(NamedTuple):\n"
        '    """One argument. `kind`: str, int, float, list, map, or text and prompt, which may come from files."""\n\n'
        "    name: str\n    kind: str\n    required: bool\n    default: Any\n    doc: str\n\n\nclass Op(NamedTuple):\n"
        '    """One op."""\n\n    name: str\n    effect: str\n    summary: str\n    streams: bool\n'
        "    params: tuple[Param, ...]\n\n\n"
        "OPS: dict[str, Op] = {\n"
    )
    for name in sorted(OPS):
        view = OPS[name].view()
        params = "".join(
            f"Param({p.name!r}, {p.kind!r}, {p.required}, {p.default!r}, {p.doc!r}), " for p in view.params
        )
        text += f"    {name!r}: Op({name!r}, {view.effect!r}, {view.summary!r}, {view.streams}, ({params})),\n"
    return text + "}\n"


# Papers


def ops_page() -> str:
    """The text of docs/ops.md."""
    parts = [
        f"# Ops\n\n<!-- {NOTICE} -->\n\n"
        "Every command of the daemon. An op is `samovar OP` on the command line, a method of `samovar.Client` and of\n"
        "`samovar.AsyncClient`, a function in the kernel, and, for those that name sessions, an Invoke task. `samovar\n"
        "describe` serves this page's facts from the running daemon. A failed op is the error code in the last table.\n"
    ]
    for name in sorted(OPS):
        view = OPS[name].view()
        streams = " Text streams before the result comes." if view.streams else ""
        parts.append(f"\n## {name}\n\n{view.doc}\n\nEffect: {view.effect}. Returns: `{view.returns}`.{streams}\n")
        if view.params:
            parts.append("\n| argument | kind | | meaning |\n|---|---|---|---|\n")
        for p in view.params:
            need = "required" if p.required else f"default `{p.default!r}`"
            parts.append(f"| `{p.name}` | {p.kind} | {need} | {p.doc} |\n")
    parts.append("\n## Results\n")
    for kind in view_classes():
        parts.append(f"\n### {kind.__name__}\n\n{inspect.getdoc(kind)}\n\n| field | type | |\n|---|---|---|\n")
        notes = _attribute_docs(kind)
        for field, hint in get_type_hints(kind).items():
            spelling = spelled(hint).replace("builtins.", "").replace("|", "\\|")
            parts.append(f"| `{field}` | `{spelling}` | {notes.get(field, '')} |\n")
    parts.append("\n## Error codes\n\n| code | whose fault | can a retry help | meaning |\n|---|---|---|---|\n")
    kinds = {kind.code: kind for kind in _all_errors(SamovarError)}
    for code, meaning in codes().items():
        kind = kinds[code]
        parts.append(f"| `{code}` | {kind.fault} | {'yes' if kind.retryable else 'no'} | {meaning} |\n")
    parts.append("\nThe client's own:\n\n| code | meaning |\n|---|---|\n")
    parts += [f"| `{code}` | {meaning} |\n" for code, meaning in CLIENT_CODES.items()]
    return "".join(parts)


def _all_errors(kind: type[SamovarError]) -> Iterator[type[SamovarError]]:
    for child in kind.__subclasses__():
        if "code" in vars(child):
            yield child
        yield from _all_errors(child)


def with_diagrams(text: str) -> str:
    """The page with the state diagrams between its markers made anew from the state tables."""
    for name, table in (("ask", states.ASK_MOVES), ("session", states.SESSION_MOVES)):
        lines = ["```mermaid", "stateDiagram-v2", f"    [*] --> {next(iter(table)).value}"]
        for state, follows in table.items():
            lines += [f"    {state.value} --> {then.value}" for then in type(state) if then in follows]
            lines += [f"    {state.value} --> [*]"] if not follows else []
        block = "\n".join([*lines, "```"])
        pattern = rf"(<!-- states of {name} -->\n).*?(\n<!-- end of states -->)"
        text = re.sub(pattern, rf"\g<1>{block}\g<2>", text, flags=re.DOTALL)
    return text


def main(say: Callable[[str], object] = sys.stderr.write) -> int:
    """Writes the outputs, or with `--check` names the stale ones and returns 1."""
    root = Path(__file__).parents[2]
    stale = [path for path, text in outputs(root).items() if not path.exists() or path.read_text("utf-8") != text]
    if "--check" in sys.argv:
        for path in stale:
            say(f"{path.relative_to(root)} is stale; run `invoke generate` and commit what it writes\n")
        return 1 if stale else 0
    for path, text in outputs(root).items():
        path.write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
