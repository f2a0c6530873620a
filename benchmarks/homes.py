"""Homes that last as long as a benchmark, the daemons in them, and other processes; all ended by their own pid."""

from __future__ import annotations

import os
import select
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from samovar import Client, Home

_CHECKOUT = str(Path(__file__).resolve().parent.parent)
_CONFIG = 'default_model: bench/instant\nbackends: {bench: "benchmarks.backend:Instant"}\n'
_START_S = _END_S = 30.0

Process = subprocess.Popen[bytes]


@contextmanager
def folder() -> Iterator[Path]:
    """A temporary folder with a short path, so that sockets fit into it."""
    path = Path(tempfile.mkdtemp(prefix="sb"))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@contextmanager
def process(command: Sequence[str], **options: Any) -> Iterator[Process]:
    """A process that ends with the block."""
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, **options)
    try:
        yield child
    finally:
        end(child)


def end(child: Process) -> None:
    """Ends it the orderly way, and otherwise where it does not comply."""
    child.terminate()
    try:
        child.wait(_END_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


@contextmanager
def home() -> Iterator[Home]:
    """A new home whose models are those of `benchmarks.backend`."""
    with folder() as path:
        (path / "samovar.yaml").write_text(_CONFIG, "utf-8")
        (path / "logs").mkdir()
        yield Home(str(path))


@contextmanager
def daemon(home: Home) -> Iterator[Process]:
    """The daemon of `home`, once it has said that it is ready."""
    ours, theirs = os.pipe()
    command = [sys.executable, "-P", "-m", "samovard", "--home", home.root, "--ready-fd", str(theirs)]
    output = Path(home.logs, "daemon.out")
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([_CHECKOUT, *filter(None, [os.environ.get("PYTHONPATH")])])}
    with output.open("wb") as log, process(command, stdout=log, stderr=log, pass_fds=[theirs], env=env) as child:
        os.close(theirs)
        try:
            ready = select.select([ours], [], [], _START_S)[0] and b'"ready"' in os.read(ours, 65536)
        finally:
            os.close(ours)
        if not ready:
            raise RuntimeError(f"the daemon did not start: {output.read_text()}")
        yield child


@contextmanager
def client_of_new_daemon() -> Iterator[Client]:
    """A connected client of a daemon in a home of its own."""
    with home() as new, daemon(new), Client(new, start=False) as client:
        client.ping()
        yield client


def settle(home: Home) -> None:
    """Starts and ends a daemon, so that the home has a migrated journal."""
    with daemon(home):
        pass


def resident_mb(pid: int) -> float:
    """The process's resident memory."""
    return float(psutil.Process(pid).memory_info().rss) / 2**20


def size_of(place: str) -> int:
    """The bytes of all files below a folder."""
    return sum(path.stat().st_size for path in Path(place).rglob("*") if path.is_file())
