"""The daemon's start, against that of the bare kernel which is in it.

From the start of the process to the first answer: a ping on the ops socket, and a `kernel_info_reply` on the Jupyter
shell channel. Beside it is `python -m ipykernel_launcher` until its first `kernel_info_reply`: the same Python, the
same ipc transport, the same `jupyter_client` asking. The home has a migrated journal, as every home has after its first
start. Python's bytecode is cached for both.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.figure import Figure
from benchmarks.homes import Process, daemon, folder, home, process, settle
from benchmarks.kernels import TIMEOUT_S, client_of_kernel
from benchmarks.stopwatch import turn_by_turn
from samovar import Client, Home

_LOOK_S = 0.002


def figures(quick: bool) -> list[Figure]:
    """Until an op, and until Jupyter, has its answer."""
    with home() as new:
        settle(new)
        ping, info, bare = turn_by_turn(
            1 if quick else 9, lambda: _first_ping_ms(new), lambda: _first_info_ms(new), _bare_kernel_ms
        )
    return [
        Figure("start to the first ping", ping, "ms", bare, "bare ipykernel", 1.5),
        Figure("start to the first kernel_info_reply", info, "ms", bare, "bare ipykernel", 1.5),
    ]


def _first_ping_ms(home: Home) -> float:
    took = _since_now()
    with daemon(home), Client(home, start=False) as client:
        client.ping()
        return took()


def _first_info_ms(home: Home) -> float:
    took = _since_now()
    with daemon(home):
        return _ask_kernel(home.connection_file, took)


def _bare_kernel_ms() -> float:
    with folder() as path:
        file = path / "kernel.json"
        command = [sys.executable, "-m", "ipykernel_launcher", "-f", str(file), "--transport=ipc", f"--ip={path}/k"]
        took = _since_now()
        with process(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as child:
            _await_connection_file(file, child)
            return _ask_kernel(str(file), took)


def _ask_kernel(file: str, took: Callable[[], float]) -> float:
    with client_of_kernel(file) as kernel:
        kernel.kernel_info(reply=True, timeout=TIMEOUT_S)
        return took()


def _await_connection_file(file: Path, child: Process) -> None:
    """ipykernel tells nobody when it is ready, and writes the file in place."""
    deadline = time.monotonic() + TIMEOUT_S
    while child.poll() is None and time.monotonic() < deadline:
        try:
            json.loads(file.read_text("utf-8"))
            return
        except (FileNotFoundError, ValueError):
            time.sleep(_LOOK_S)
    raise RuntimeError(f"a bare ipykernel wrote no connection file (its status: {child.returncode})")


def _since_now() -> Callable[[], float]:
    began = time.perf_counter()
    return lambda: (time.perf_counter() - began) * 1000
