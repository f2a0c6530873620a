"""A whole command, from the shell's point of view: start of the process to its end.

`samovar ask` is the installed console script asking a warm session whose model answers at once. Beside it is the same
Python doing nothing but `import zmq`: no program that speaks ZeroMQ from Python can take less. Turn by turn.
"""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from pathlib import Path

from benchmarks.figure import Figure
from benchmarks.homes import client_of_new_daemon
from benchmarks.stopwatch import seconds, turn_by_turn

_SAMOVAR = str(Path(sys.executable).with_name("samovar"))
_IMPORT_ZMQ = (sys.executable, "-c", "import zmq")


def figures(quick: bool) -> list[Figure]:
    """`samovar ask` and `samovar --help`."""
    with client_of_new_daemon() as client:
        client.spawn("warm")
        asked, helped, imported = turn_by_turn(
            2 if quick else 25,
            partial(_took_ms, _SAMOVAR, "ask", "warm", "hello", "--home", client.home.root),
            partial(_took_ms, _SAMOVAR, "--help"),
            partial(_took_ms, *_IMPORT_ZMQ),
        )
    return [
        Figure("`samovar ask`, the whole process", asked, "ms", imported, "import zmq", 2),
        Figure("`samovar --help`, the whole process", helped, "ms", imported, "import zmq", 2),
    ]


def _took_ms(*command: str) -> float:
    return seconds(partial(subprocess.run, command, stdout=subprocess.DEVNULL, check=True)) * 1000
