"""The daemon's side of a home: it holds the lock, clears what a killed daemon left, and leaves nothing behind."""

from __future__ import annotations

import fcntl
import json
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from samovar.errors import UsageError
from samovar.home import Home, make_folder, private_folder
from samovard.model.errors import AlreadyRunning, HomeUnusable

_LOCK_TRIES_S = 2.0
_OURS = ("connection.json", "daemon.pid", "kernel.json", "ops", *(f"kernel-{number}" for number in range(1, 10)))
"""Every name that a daemon makes in its run folder; nothing else there is ever touched."""


class HeldHome:
    """A home that this process is the daemon of. Raises HomeUnusable and AlreadyRunning."""

    def __init__(self, home: Home) -> None:
        self.home = home
        try:
            private_folder(home.run)
            private_folder(home.sockets)
            make_folder(home.sessions, 0o700)
            make_folder(home.logs, 0o700)
        except UsageError as error:
            raise HomeUnusable(error.message) from None
        self._lock = self._take_lock()
        # A cell may fork the process; the child must not go on holding the home when we are gone.
        os.register_at_fork(after_in_child=self._let_go)
        self._clear()
        # Beside the connection file, which a daemon that starts or hangs does not have.
        try:
            Path(home.pid_file).write_text(str(os.getpid()), "ascii")
        except OSError as error:
            self.release()
            raise HomeUnusable(f"the run folder {home.run} can't be written ({error}); free some space") from None

    def _take_lock(self) -> int:
        folder = os.open(self.home.run, os.O_RDONLY | os.O_DIRECTORY)
        deadline = time.monotonic() + _LOCK_TRIES_S
        while True:
            try:
                fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return folder
            except OSError:
                # A client that looks whether a daemon is up holds the lock for some microseconds.
                if time.monotonic() > deadline:
                    os.close(folder)
                    raise AlreadyRunning(
                        f"a daemon is up in {self.home.root} already; `samovar status` shows it, `samovar down` ends it"
                    ) from None
                time.sleep(0.01)

    def _let_go(self) -> None:
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _clear(self) -> None:
        for folder in {self.home.run, self.home.sockets}:
            for name in _OURS:
                (Path(folder) / name).unlink(missing_ok=True)

    def publish(self, info: dict[str, Any]) -> None:
        """Writes the connection file: whole or not at all, for this user's eyes only."""
        draft = f"{self.home.connection_file}.{os.getpid()}"
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(descriptor, "w", encoding="utf-8") as file:
            json.dump(info, file, indent=1)
        os.replace(draft, self.home.connection_file)

    def withdraw(self) -> None:
        """Removes the connection file, so that no new client comes."""
        Path(self.home.connection_file).unlink(missing_ok=True)

    def release(self) -> None:
        """Removes every file of ours and lets go of the lock."""
        self._clear()
        if self.home.sockets != self.home.run:
            with suppress(OSError):  # Somebody put a file of theirs there; it is theirs to keep.
                Path(self.home.sockets).rmdir()
        self._let_go()
