"""What a developer runs here, beside samovar's own tasks: `invoke --list`."""

from __future__ import annotations

import sys
from pathlib import Path

from invoke import Collection, Context, task
from samovar.invoke_tasks import mount

ROOT = Path(__file__).parent
BIN = Path(sys.executable).parent


def _run(c: Context, command: str) -> None:
    """Runs a tool of this environment, whether or not it is on the path."""
    with c.cd(str(ROOT)):
        c.run(f"'{sys.executable}' -m {command}", pty=sys.stdout.isatty(), env={"PYTHONUNBUFFERED": "1"})


@task
def lint(c: Context) -> None:
    """Run ruff, the strict type check, the import contracts, and the check that generated files are fresh."""
    _run(c, "ruff check .")
    _run(c, "ruff format --check .")
    _run(c, "mypy")
    with c.cd(str(ROOT)):
        c.run(f"'{BIN / 'lint-imports'}'")
    _run(c, "samovard.generate --check")


@task(pre=[lint], help={"k": "only the tests whose names match", "path": "only the tests below this path"})
def test(c: Context, k: str = "", path: str = "") -> None:
    """Run the linters, then every test."""
    chosen = f" -k '{k}'" if k else ""
    _run(c, f"pytest{chosen} {path}")


@task(help={"only": "a part of the name of the figures to print"})
def bench(c: Context, only: str = "") -> None:
    """Print every figure of the README, measured here and now."""
    _run(c, f"benchmarks {only}")


@task
def demo(c: Context) -> None:
    """Show what samovar does, on a daemon of its own."""
    _run(c, "samovar demo")


@task
def generate(c: Context) -> None:
    """Write what is made from the declarations: the client's API, docs/ops.md, the diagrams."""
    _run(c, "samovard.generate")


ns = mount(Collection(lint, test, bench, demo, generate))
