"""A Jupyter client of a kernel that is up: ours or a bare one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from jupyter_client.blocking.client import BlockingKernelClient

TIMEOUT_S = 30.0


@contextmanager
def client_of_kernel(connection_file: str) -> Iterator[BlockingKernelClient]:
    """A client whose channels are open."""
    client = BlockingKernelClient(connection_file=connection_file)
    client.load_connection_file()
    client.start_channels(stdin=False, hb=False)
    try:
        yield client
    finally:
        client.stop_channels()
