"""Real daemons for tests, each in a home of its own. Owns the promise that nothing started here outlives its test.

A test waits on conditions, with a bound (`eventually`), never for a time. What is started through a `Place` (commands,
daemons that those start, children that cells fork) is ended by its pid when the place is, also after a failure.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import psutil
import pytest
from jupyter_client.blocking import BlockingKernelClient

from samovar import Client
from samovar.home import Home

SCRIPTS = Path(sys.executable).parent
SAMOVAR = str(SCRIPTS / "samovar")
INVOKE = str(SCRIPTS / "invoke")

FAKE = 'default_model: fake\nbackends: {fake: "samovard.testing.fake:FakeBackend"}\n'
"""The samovar.yaml of a home whose sessions answer without any provider."""

PATIENCE_S = 60.0
"""How long anything here is waited for. A bound against hanging, not a measure of anything."""

_NOT_INHERITED = ("SAMOVAR", "JPY_", "PYTHON", "XDG_", "INVOKE", "IPYTHON", "JUPYTER", "NO_COLOR", "COLUMNS")

Found = TypeVar("Found")


def eventually(condition: Callable[[], Found], what: str, within_s: float = PATIENCE_S) -> Found:
    """The first true value of `condition`. Fails, saying `what` did not come, where there is none in time."""
    deadline = time.monotonic() + within_s
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not within {within_s:g} s: {what}"
        time.sleep(0.01)
    return found


class Done(NamedTuple):
    """A command that has ended."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """What it printed, which is JSON and nothing else."""
        assert self.code == 0, self
        return json.loads(self.out)


class Place:
    """A home, an environment that leads to it alone, and every process that was started for it."""

    def __init__(self, root: Path, around: Path, config: str | None = FAKE) -> None:
        self.root = root
        self.around = around
        self.home = Home(str(root))
        self.run_folder = Path(self.home.run)
        self.connection_file = Path(self.home.connection_file)
        root.mkdir(parents=True, exist_ok=True)
        if config is not None:
            (root / "samovar.yaml").write_text(config, "utf-8")
        self.env = clean_environment(around)
        self.env["SAMOVAR_HOME"] = str(root)
        self._started: list[subprocess.Popen[Any]] = []

    # Commands

    def start(self, *words: str, env: Mapping[str, str] | None = None, **options: Any) -> subprocess.Popen[bytes]:
        """Starts `samovar words...` with its output piped, and does not wait for it."""
        return self.launch([SAMOVAR, *words], env=env, **options)

    def launch(
        self, command: list[str], env: Mapping[str, str] | None = None, **options: Any
    ) -> subprocess.Popen[bytes]:
        """Starts any command in the place's environment, with its output piped."""
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "cwd": self.around}
        process = subprocess.Popen(command, env={**self.env, **(env or {})}, **{**pipes, **options})
        self._started.append(process)
        return process

    def run(self, *words: str, stdin: bytes = b"", env: Mapping[str, str] | None = None, **options: Any) -> Done:
        """Runs `samovar words...` to its end."""
        return self.finish(self.start(*words, env=env, stdin=subprocess.PIPE, **options), stdin)

    def finish(self, process: subprocess.Popen[bytes], stdin: bytes | None = None) -> Done:
        """Waits for a command's end."""
        out, err = process.communicate(stdin, timeout=PATIENCE_S)
        return Done(process.returncode, (out or b"").decode(), (err or b"").decode())

    def ok(self, *words: str, **options: Any) -> str:
        """What a command printed, which is to succeed."""
        done = self.run(*words, **options)
        assert done.code == 0, done
        return done.out

    def json(self, *words: str, **options: Any) -> Any:
        """The result of an op."""
        return self.run(*words, "--json", **options).json()

    # The daemon

    def up(self, *options: str) -> int:
        """Brings a daemon up and returns its pid."""
        self.ok("up", *options)
        return self.pid

    def down(self, *options: str) -> None:
        """Ends the daemon the orderly way."""
        self.ok("down", *options)

    @property
    def info(self) -> dict[str, Any]:
        """What the connection file says."""
        return dict(json.loads(self.connection_file.read_text("utf-8")))

    @property
    def pid(self) -> int:
        """The daemon's pid, from the connection file."""
        return int(self.info["pid"])

    def kill9(self) -> int:
        """Ends the daemon as a crash would, and waits until the kernel has let go of its home."""
        pid = self.pid
        os.kill(pid, signal.SIGKILL)
        self.wait_until_down()
        return pid

    def wait_until_down(self) -> None:
        """Returns when no daemon holds the home, and none is a process any more."""
        eventually(lambda: not self.home.up(), "the home is let go of")
        eventually(lambda: not self.daemons(), "the daemon's process is gone")

    def daemons(self) -> list[int]:
        """The pids of the processes that are a daemon of this home, or that one has forked."""
        found = []
        for process in psutil.process_iter(["cmdline", "status"]):
            words = process.info["cmdline"] or []
            if "samovard" in words and str(self.root) in words and process.info["status"] != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
        return found

    def holders(self) -> list[int]:
        """The pids of the processes that have the run folder open, as whoever holds its lock has."""
        return [pid for pid in psutil.pids() if str(self.run_folder) in _open_files(pid)]

    def leavings(self) -> list[str]:
        """The names in the run folder."""
        return sorted(os.listdir(self.run_folder))

    def log(self) -> list[dict[str, Any]]:
        """The log's lines."""
        text = (Path(self.home.logs) / "agent-communication.log").read_text("utf-8")
        return [json.loads(line) for line in text.split("\n") if line]

    # Clients

    @contextlib.contextmanager
    def client(self) -> Iterator[Client]:
        """A client in this process; it never starts a daemon."""
        with Client(self.home, start=False) as client:
            yield client

    @contextlib.contextmanager
    def jupyter(self, info: Mapping[str, Any] | None = None) -> Iterator[BlockingKernelClient]:
        """Jupyter's own client, connected by the connection file, or by `info` in its place."""
        client = BlockingKernelClient()
        if info is None:
            client.load_connection_file(str(self.connection_file))
        else:
            client.load_connection_info(dict(info))
        client.start_channels()
        try:
            yield client
        finally:
            client.stop_channels()

    # The end

    def end(self) -> None:
        """Ends whatever was started here and has not ended yet."""
        for process in self._started:
            if process.poll() is None:
                _kill(process.pid)
                process.wait()
            for pipe in (process.stdin, process.stdout, process.stderr):
                if pipe:
                    with contextlib.suppress(OSError):  # What is still to be written has no reader any more.
                        pipe.close()
        for pid in self.daemons():
            _kill(pid)
        eventually(lambda: not self.daemons(), "the daemon's process is gone")
        sockets = Path(self.home.sockets)
        if sockets != self.run_folder:
            shutil.rmtree(sockets, ignore_errors=True)


def clean_environment(around: Path) -> dict[str, str]:
    """This process's environment without what could lead out of `around`."""
    env = {name: text for name, text in os.environ.items() if not name.startswith(_NOT_INHERITED)}
    return env | {
        "HOME": str(around / "user"),
        "XDG_STATE_HOME": str(around / "state"),
        "IPYTHONDIR": str(around / "ipython"),
        "PATH": f"{SCRIPTS}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "TERM": "dumb",
    }


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _open_files(pid: int) -> list[str]:
    found = []
    with contextlib.suppress(OSError):
        for name in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                found.append(os.readlink(f"/proc/{pid}/fd/{name}"))
    return found


class Lines:
    """The lines of a pipe, as they come."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout
        self._descriptor = process.stdout.fileno()
        self._rest = b""

    def next(self, within_s: float = PATIENCE_S) -> str:
        """The next line, without its end. Fails where none comes in time."""
        while b"\n" not in self._rest:
            ready, _, _ = select.select([self._descriptor], [], [], within_s)
            assert ready, f"no line within {within_s:g} s; so far: {self._rest!r}"
            more = os.read(self._descriptor, 65536)
            assert more, f"the output ended before its line did: {self._rest!r}"
            self._rest += more
        line, _, self._rest = self._rest.partition(b"\n")
        return line.decode()


Places = Callable[..., Place]


@contextlib.contextmanager
def making_places() -> Iterator[Places]:
    """A maker of places below one short folder (a socket's path has 107 bytes), all of them ended at the end."""
    around = Path(tempfile.mkdtemp(prefix="sv-", dir="/tmp"))
    made: list[Place] = []

    def make(name: str = "h", config: str | None = FAKE) -> Place:
        made.append(Place(around / name, around, config))
        return made[-1]

    try:
        yield make
    finally:
        with contextlib.ExitStack() as ends:
            ends.callback(shutil.rmtree, around, ignore_errors=True)
            for place in made:
                ends.callback(place.end)


@pytest.fixture
def places() -> Iterator[Places]:
    """Makes homes for one test."""
    with making_places() as make:
        yield make


@pytest.fixture
def place(places: Places) -> Place:
    """A home for one test, with no daemon yet."""
    return places()


@pytest.fixture(scope="module")
def shared() -> Iterator[Place]:
    """A home whose daemon is up for all tests of a module; each of them uses session names of its own."""
    with making_places() as make:
        place = make()
        place.up()
        yield place
