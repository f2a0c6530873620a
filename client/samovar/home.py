"""Which daemon: its home folder, whether it is up, and how to start it.

A home is held by a lock on its `run` folder, which the kernel lets go of when the daemon ends, however it ends; so
whether a daemon is up is never guessed from a file that may be stale.
"""

from __future__ import annotations

import fcntl
import json
import os
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .errors import NoDaemon, UsageError

CONFIG = "samovar.yaml"
START_TIMEOUT_S = 60.0

_SOCKET_PATH_LIMIT = 107
"""What fits in `sun_path` (unix(7): 108 bytes with the closing zero)."""

_LONGEST_SOCKET_NAME = len("/kernel-99")


class Home:
    """The folder of one daemon. Paths are strings: `pathlib` would cost a tenth of a command's time."""

    def __init__(self, root: str) -> None:
        root = os.path.expanduser(root)
        self.root = os.path.normpath(root if os.path.isabs(root) else os.path.join(_here(), root))
        self.config = os.path.join(self.root, CONFIG)
        self.sessions = os.path.join(self.root, "sessions")
        self.logs = os.path.join(self.root, "logs")
        self.run = os.path.join(self.root, "run")
        self.connection_file = os.path.join(self.run, "connection.json")
        self.pid_file = os.path.join(self.run, "daemon.pid")

    @classmethod
    def find(cls, home: str | None = None) -> Home:
        """`home`, else $SAMOVAR_HOME, else the nearest folder upward with samovar.yaml, else the user's state."""
        if home or os.environ.get("SAMOVAR_HOME"):
            return cls(home or os.environ["SAMOVAR_HOME"])
        return cls(_nearest_with_config(_here()) or _state_folder())

    @property
    def sockets(self) -> str:
        """Where the sockets are: `run`, or a short path of this user's where `run` is too long for a socket's."""
        if len(os.fsencode(self.run)) + _LONGEST_SOCKET_NAME <= _SOCKET_PATH_LIMIT:
            return self.run
        import hashlib

        digest = hashlib.sha256(os.fsencode(self.root)).hexdigest()[:16]
        return f"/tmp/samovar-{os.getuid()}-{digest}"  # noqa: S108 - made and checked by `private_folder`

    def up(self) -> bool:
        """Whether a daemon holds this home."""
        try:
            folder = os.open(self.run, os.O_RDONLY | os.O_DIRECTORY)
        except OSError:
            return False
        try:
            fcntl.flock(folder, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
        finally:
            os.close(folder)
        return False

    def pid(self) -> int | None:
        """The process that holds this home, where one does."""
        try:
            with open(self.pid_file, encoding="ascii") as file:
                return int(file.read()) if self.up() else None
        except (OSError, ValueError):
            return None

    def connection(self) -> dict[str, Any] | None:
        """What the connection file says, or None where there is none. It may be a killed daemon's: ask `up` first."""
        try:
            with open(self.connection_file, encoding="utf-8") as file:
                found = json.load(file)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except PermissionError as error:
            raise NoDaemon(f"the connection file {self.connection_file} is not yours to read ({error})") from None
        except ValueError as error:
            raise NoDaemon(
                f"the connection file {self.connection_file} is no JSON ({error}); `samovar restart` makes it anew"
            ) from None
        return found if isinstance(found, dict) else None

    def reach(self, *, start: bool = True, timeout_s: float = START_TIMEOUT_S) -> dict[str, Any]:
        """The connection info of the daemon, which is started if there is none and `start` allows it.

        Raises NoDaemon.
        """
        found = self._wait_until_ready(timeout_s) if self.up() else None
        if found:
            return found
        if not start:
            stale = " (a killed daemon left its files there; the next start clears them)" if self.connection() else ""
            raise NoDaemon(f"no daemon is up in {self.root}{stale}; start one with `samovar up`")
        self.start(timeout_s=timeout_s)
        found = self._wait_until_ready(timeout_s)
        if found is None:
            raise NoDaemon(f"the daemon in {self.root} ended as soon as it was ready; `samovar logs` says why")
        return found

    def _wait_until_ready(self, timeout_s: float) -> dict[str, Any] | None:
        """The connection info once there is some; None where the daemon was on its way out and has ended."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            found = self.connection()
            if found and found.get("ops"):
                return found
            if not self.up():
                return None
            time.sleep(0.01)
        raise NoDaemon(f"the daemon in {self.root} was not ready within {timeout_s:g} s; `samovar logs` may say why")

    def start(self, *options: str, timeout_s: float = START_TIMEOUT_S) -> bool:
        """Starts the daemon in the background and waits until it answers; False where another was up already."""
        make_folder(self.root)
        with self._starting():
            if self.up():
                return False
            _launch(self, options, timeout_s)
        return True

    @contextmanager
    def _starting(self) -> Iterator[None]:
        """Holds the right to start a daemon here: of twenty clients at once, one starts it and the others wait."""
        folder = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            yield
        finally:
            os.close(folder)


def _here() -> str:
    try:
        return os.getcwd()
    except FileNotFoundError:
        raise UsageError("the current folder is gone; change to another, or name a home with --home") from None


def _nearest_with_config(folder: str) -> str | None:
    while not os.path.exists(os.path.join(folder, CONFIG)):
        folder, last = os.path.dirname(folder), folder
        if folder == last:
            return None
    return folder


def _state_folder() -> str:
    """Where a user's programs keep state: the XDG base directory specification, or ~/Library on macOS."""
    if sys.platform == "darwin":
        return os.path.expanduser("~/Library/Application Support/samovar")
    return os.path.join(os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state"), "samovar")


def make_folder(path: str, mode: int = 0o777) -> None:
    """Makes a folder where there is none. Raises UsageError."""
    try:
        os.makedirs(path, mode=mode, exist_ok=True)
    except OSError as error:
        raise UsageError(f"the folder {path} can't be made ({error.strerror}); choose another with --home") from None


def private_folder(path: str) -> None:
    """Makes a folder that only this user can enter. Raises UsageError where it is there and others can."""
    make_folder(path, 0o700)
    found = os.lstat(path)
    if not stat.S_ISDIR(found.st_mode):
        raise UsageError(f"{path} is no folder; samovar keeps its sockets there, so move it away")
    if found.st_uid != os.getuid():
        raise UsageError(
            f"the folder {path} belongs to user {found.st_uid}; whoever owns it could run code as you. Remove it"
        )
    if found.st_mode & 0o077:
        raise UsageError(
            f"the folder {path} has mode {stat.S_IMODE(found.st_mode):04o}, so others can enter it, and whoever "
            f"connects can run code as you. Close it with: chmod 700 {path}"
        )


def _launch(home: Home, options: tuple[str, ...], timeout_s: float) -> None:
    """Starts the process and waits for its word: `ready`, or what went wrong."""
    import select
    import subprocess

    make_folder(home.logs)
    ours, theirs = os.pipe()
    # -P: the folder that a command happens to be typed in must not lend the daemon its modules.
    command = [
        sys.executable,
        "-P",
        "-m",
        "samovard",
        "--home",
        home.root,
        "--ready-fd",
        str(theirs),
        *options,
    ]
    try:
        with open(os.path.join(home.logs, "daemon.out"), "wb") as output:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                pass_fds=[theirs],
                cwd=home.root,
            )
    except OSError as error:
        os.close(ours)
        raise NoDaemon(f"the daemon could not be started ({error}); `{' '.join(command)}` was the command") from None
    finally:
        os.close(theirs)
    with open(ours, "rb", buffering=0) as pipe:
        if not select.select([pipe], [], [], timeout_s)[0]:
            process.kill()
            process.wait()
            raise NoDaemon(f"the daemon was not ready within {timeout_s:g} s and was ended; see {home.logs}")
        word = pipe.read(65536)
    if b'"ready"' not in word:
        process.wait()
        raise _not_started(word, process.returncode, home)
    process.returncode = 0  # It outlives us on purpose; this keeps Popen from warning about it.


def _not_started(word: bytes, status: int, home: Home) -> NoDaemon:
    if not word:
        return NoDaemon(f"the daemon did not start: it ended at once with status {status}; see {home.logs}/daemon.out")
    told = json.loads(word)
    return NoDaemon(f"the daemon did not start: {told['message']}", code=told["code"])
