"""`python -m benchmarks [NAME]`: measures, and prints one table at the end."""

from __future__ import annotations

import argparse
import signal
import sys
import time
import traceback
from importlib import import_module
from pathlib import Path

from benchmarks.figure import Figure, as_json, surroundings, table

GROUPS = ("ping", "ask", "command", "fork", "turns", "crowd", "sessions", "cell", "start")
"""The modules that have figures, in the order of the table."""


def main() -> int:
    """0, whether or not targets are met: that is for people to judge. 1 where a benchmark crashed."""
    options = _options()
    if options.list:
        print("\n".join(GROUPS))
        return 0
    # A terminated run ends its daemons too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    chosen = [name for name in GROUPS if options.name in name]
    if not chosen:
        print(f"no group of figures has {options.name!r} in its name; there are: {', '.join(GROUPS)}", file=sys.stderr)
        return 2
    where, figures, crashed = surroundings(), [], []
    for name in chosen:
        found = _measured(name, options.quick)
        figures += found
        if not found:
            crashed.append(name)
    _show(figures, where, options)
    if crashed:
        print(f"\ncrashed: {', '.join(crashed)}", file=sys.stderr)
    return 1 if crashed else 0


def _measured(name: str, quick: bool) -> list[Figure]:
    """The figures of a group; none where it crashed, which is told and keeps no other group from being measured."""
    began = time.monotonic()
    print(f"{name} ... ", end="", file=sys.stderr, flush=True)
    try:
        found: list[Figure] = import_module(f"benchmarks.{name}").figures(quick)
    except Exception:  # noqa: BLE001 - told in full
        print("crashed", file=sys.stderr)
        traceback.print_exc()
        return []
    print(f"{time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    return found


def _show(figures: list[Figure], where: str, options: argparse.Namespace) -> None:
    text = f"{table(figures)}\n\n{where}"
    print(text)
    if options.markdown:
        Path(options.markdown).write_text(text + "\n", "utf-8")
    if options.json:
        Path(options.json).write_text(as_json(figures, where) + "\n", "utf-8")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Print the figures, measured here and now."
    )
    parser.add_argument("name", nargs="?", default="", help="only the groups with this in their name")
    parser.add_argument("--list", action="store_true", help="print the groups' names")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: shows that it runs; the figures mean nothing")
    parser.add_argument("--json", metavar="FILE", help="write the figures as JSON too")
    parser.add_argument("--markdown", metavar="FILE", help="write the table to a file too")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
