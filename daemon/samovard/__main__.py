"""`python -m samovard`: the daemon's process. `samovar up` is what people type."""

from __future__ import annotations

import argparse
import json
import os
import sys
from typing import Any


def main() -> int:
    """Runs the daemon; 1 where it could not start. Foreseen failures are told in a sentence."""
    options = _options()
    try:
        return _run(options)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("samovar"):
            raise
        return _fail(
            options.ready_fd,
            "missing_extra",
            f"the daemon needs the extra 'daemon' ({error.name} is missing); install it with: "
            "pip install 'samovar[daemon]'",
        )


def _run(options: argparse.Namespace) -> int:
    from samovar.home import Home
    from samovard.app import run
    from samovard.model.errors import SamovarError

    try:
        run(
            Home(options.home),
            foreground=options.foreground,
            tcp=options.tcp,
            grace_s=options.grace_s,
            ready=lambda: _say(options.ready_fd, {"ready": os.getpid()}),
        )
    except SamovarError as error:
        return _fail(options.ready_fd, error.code, error.message)
    except OSError as error:
        return _fail(options.ready_fd, "home_unusable", f"the daemon can't use its home: {error}")
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="samovard", description=__doc__)
    parser.add_argument("--home", required=True)
    parser.add_argument("--foreground", action="store_true")
    parser.add_argument("--tcp", action="store_true")
    parser.add_argument("--grace-s", type=float)
    parser.add_argument("--ready-fd", type=int, default=-1)
    return parser.parse_args()


def _say(descriptor: int, word: dict[str, Any]) -> None:
    """Tells whoever started us, once; the pipe's end is the end of their waiting."""
    if descriptor >= 0:
        try:
            os.write(descriptor, json.dumps(word).encode())
            os.close(descriptor)
        except OSError:
            pass  # They did not wait, or have heard already.


def _fail(descriptor: int, code: str, message: str) -> int:
    _say(descriptor, {"code": code, "message": message})
    sys.__stderr__.write(f"error: {message} [{code}]\n") if sys.__stderr__ else None
    return 1


if __name__ == "__main__":
    sys.exit(main())
