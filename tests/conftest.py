"""What more than one test module needs. Owns the built wheel: one a run, since building takes a second."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from house import house, ops

__all__ = ["house", "ops", "wheel"]

# Whoever starts the tests in the background has them ignore SIGINT, and every program that they start with them.
signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout, built without isolation, so that no registry is asked."""
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(ROOT)]
    built = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    (found,) = out.glob("*.whl")
    return found
