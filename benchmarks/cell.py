"""Ops while somebody's cell computes: IPython has the main thread, and the core is not to wait for it.

The cell is a loop in pure Python, which never lets go of the interpreter of its own accord, sent by `jupyter_client`
to the kernel's main shell (no subshell). Pings and asks of a model that answers at once alternate until the cell has
ended. Beside it are as many of both on the same daemon while it is idle.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

from jupyter_client.blocking.client import BlockingKernelClient

from benchmarks.figure import Figure
from benchmarks.homes import client_of_new_daemon
from benchmarks.kernels import TIMEOUT_S, client_of_kernel
from benchmarks.stopwatch import percentile, repeated
from samovar import Client

_CELL = """
import time
until = time.monotonic() + {seconds}
while time.monotonic() < until:
    pass
"""


def figures(quick: bool) -> list[Figure]:
    """One in a hundred of each op, and the median."""
    with client_of_new_daemon() as client, client_of_kernel(client.home.connection_file) as kernel:
        client.spawn("warm")
        kernel.execute_interactive("None", timeout=TIMEOUT_S)
        busy = _Ops(client)
        busy.alternate_while(_computing(kernel, 0.5 if quick else 5))
        idle = _Ops(client)
        left = iter(range(len(busy.pings)))
        idle.alternate_while(lambda: next(left, None) is not None)
    return [
        Figure(f"{name} while a cell computes, p{share}", ours, "ms", beside, "an idle daemon", limit, "ours")
        for share, limit in ((50, None), (99, 20))
        for name, ours, beside in (
            ("ping", percentile(busy.pings, share), percentile(idle.pings, share)),
            ("ask", percentile(busy.asks, share), percentile(idle.asks, share)),
        )
    ]


class _Ops:
    """The times of pings and asks, in ms."""

    def __init__(self, client: Client) -> None:
        self.pings: list[float] = []
        self.asks: list[float] = []
        self._client = client
        self._numbers = count()

    def alternate_while(self, wanted: Callable[[], bool]) -> None:
        while wanted():
            self.pings += repeated(self._client.ping, 1)
            self.asks += repeated(lambda: self._client.ask("warm", f"hello {next(self._numbers)}"), 1)


def _computing(kernel: BlockingKernelClient, seconds: float) -> Callable[[], bool]:
    """Starts the cell, waits until the kernel says that it is busy with it, and returns whether it still is."""
    request = kernel.execute(_CELL.format(seconds=seconds))
    message = kernel.get_iopub_msg(timeout=TIMEOUT_S)
    while message["parent_header"].get("msg_id") != request or message["content"].get("execution_state") != "busy":
        message = kernel.get_iopub_msg(timeout=TIMEOUT_S)
    return lambda: not kernel.shell_channel.msg_ready()
