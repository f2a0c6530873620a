"""Make the checkout's own virtual environment, then run one of its Invoke tasks in it.

Owns `.venv` beside this file. Invariant: the stamp in `.venv` is removed before anything there
changes and written when all of it is done, so a stamp that matches means a complete environment.
Standard library only; it parses on Python 3.6, so that an old Python gets a sentence, not a traceback.
"""

import contextlib
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from importlib import import_module
from pathlib import Path

try:
    import fcntl
except ImportError:  # not a POSIX system: two runs at once are then the person's to avoid
    fcntl = None

ROOT = Path(__file__).resolve().parent
OLDEST = (3, 11)
INTERRUPTED = 130  # what a shell reports for a program that Ctrl-C ended
SEEN = r"^(?:Collecting|Processing|Requirement already satisfied)"  # how pip's lines begin, one a package
EXTRAS = ".[daemon,dev]"
# Underneath any environment this Python may run in, since that one is perhaps about to be cleared.
INTERPRETER = getattr(sys, "_base_executable", None) or sys.executable
VERSION = ".".join(str(part) for part in sys.version_info[:3])
USAGE = """usage: python3 bootstrap.py COMMAND [ARGUMENT...]

  demo    make the environment if need be, then `invoke demo`
  test    the same, then `invoke test`
  setup   make the environment and stop
  pins    resolve the daemon and dev extras afresh and write constraints.txt

Arguments after demo and test go to invoke as they are."""
PINS_HEADER = """\
# Exact versions of all that the daemon and dev extras install, build requirements included.
# Names and versions only: where they come from is your pip's configuration.
# Refreshed with `python3 bootstrap.py pins` under Python 3.11, the oldest supported.
"""
REASONS = {
    "place": "the checkout has moved since it was made",
    "python": "it was made by another Python",
    "pins": "the pinned versions changed",
    "project": "the project's metadata changed",
}


class Failure(Exception):
    """Something foreseeable went wrong; the message says what, and what to do next."""


def check_python(version):
    """Refuse a Python that cannot run samovar."""
    if tuple(version[:2]) < OLDEST:
        found = ".".join(str(part) for part in version[:3])
        raise Failure(
            f"samovar needs Python 3.11 or newer and this is Python {found}; "
            "run bootstrap.py with a newer one, such as `python3.11 bootstrap.py`."
        )


def check_venv(load=import_module):
    """Refuse a Python whose distribution split `venv` or `ensurepip` off."""
    for name in ("venv", "ensurepip"):
        try:
            load(name)
        except ImportError as error:
            raise Failure(
                f"this Python lacks its module {name}, without which it makes no virtual environment; "
                "install it (on Debian and Ubuntu: `apt install python3-venv`) and run this again."
            ) from error


def digest(*paths):
    """One hash over the files' bytes."""
    total = hashlib.sha256()
    for path in paths:
        try:
            content = path.read_bytes()
        except OSError as error:
            message = f"cannot read {path} ({error.strerror}); restore the file and run this again."
            raise Failure(message) from error
        total.update(b"%d:" % len(content) + content)
    return total.hexdigest()


def pinned(path):
    """The pins in a constraints file: {name: version}."""
    lines = path.read_text().splitlines() if path.exists() else []
    return dict(line.split("==") for line in lines if "==" in line and not line.startswith("#"))


def build_requirements(root):
    """What pyproject.toml names under [build-system]."""
    import tomllib

    path = root / "pyproject.toml"
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))["build-system"]["requires"]
    except (ValueError, KeyError) as error:
        message = f"{path} names no build requirements ({error}); correct it and run this again."
        raise Failure(message) from error


def tail(text, lines=15):
    """The last lines of a program's output that say something."""
    return "\n".join([line for line in text.splitlines() if line.strip()][-lines:])


@contextlib.contextmanager
def locked(path):
    """Hold the lock file at `path`: one process at a time makes the environment."""
    with path.open("a") as lock:
        if fcntl:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                print("another bootstrap.py is making the environment; waiting for it", flush=True)
                fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock


def finish(command, **options):
    """The exit code of a job that is told of Ctrl-C and given the time to clean up; then it is INTERRUPTED."""
    interrupts = []
    terminal = bool(sys.stdin and sys.stdin.isatty())  # a terminal tells the job itself

    def pass_on(*_):
        interrupts.append(True)
        if job and not terminal:
            job.send_signal(signal.SIGINT)

    job = None
    # From before the job is there: a signal that came between its start and our waiting would leave it behind.
    before = signal.signal(signal.SIGINT, pass_on)
    try:
        job = subprocess.Popen(command, **options)
        if interrupts and not terminal:
            job.send_signal(signal.SIGINT)
        signal.signal(signal.SIGTERM, lambda *_: job.terminate())
        code = job.wait()
    finally:
        signal.signal(signal.SIGINT, before)
    if interrupts:
        return INTERRUPTED
    return code if code >= 0 else 128 - code


class Progress:
    """One line that moves while pip works: rewritten on a terminal, repeated seldom elsewhere."""

    def __init__(self, log, packages, total):
        self.log, self.packages, self.total = log, packages, total
        self.terminal = sys.stdout.isatty()
        self.interval_s = 0.2 if self.terminal else 5
        self.started = time.monotonic()
        self.shown = self.started - 0.2
        self.before = self.count()

    def count(self):
        """How many packages the environment holds."""
        return sum(1 for _ in self.packages.glob("*.dist-info"))

    def show(self):
        """Say how far pip's log and the environment's folder are, if it is time to."""
        if time.monotonic() - self.shown < self.interval_s:
            return
        self.shown = time.monotonic()
        collected = len(re.findall(SEEN, self.log.read_text(errors="replace"), re.MULTILINE))
        total = f" of {max(collected, self.total)}" if self.total else ""
        self.write(f"{collected}{total} packages collected, {self.count() - self.before} installed")

    def write(self, text, end=""):
        """Put the time and `text` on the line."""
        line = f"  {time.monotonic() - self.started:3.0f} s: {text}"
        print("\r\x1b[K" + line + end if self.terminal else line + "\n", end="", flush=True)


class Environment:
    """The virtual environment in `folder` of the checkout at `root`."""

    def __init__(self, root, folder=None):
        self.root = root
        self.folder = folder or root / ".venv"
        self.stamp = self.folder / "samovar-stamp.json"
        self.log = self.folder / "bootstrap.log"
        self.python = self.path("scripts") / ("python" + sysconfig.get_config_var("EXE"))
        self.invoke = self.path("scripts") / ("invoke" + sysconfig.get_config_var("EXE"))

    def path(self, kind):
        """Where the environment keeps its `scripts` or its `purelib`."""
        return Path(sysconfig.get_path(kind, "venv", {"base": self.folder, "platbase": self.folder}))

    def variables(self):
        """The caller's variables, pip's settings among them, turned to this environment."""
        kept = {name: text for name, text in os.environ.items() if name not in ("PYTHONHOME", "PYTHONPATH")}
        kept["VIRTUAL_ENV"] = str(self.folder)
        kept["PATH"] = str(self.path("scripts")) + os.pathsep + kept.get("PATH", os.defpath)
        kept["PIP_USER"] = "0"  # a person's `user = true` would install beside the environment
        kept["PIP_DISABLE_PIP_VERSION_CHECK"] = "1"
        return kept

    def wanted(self):
        """What the stamp of a complete environment says, for this checkout and this Python."""
        root = self.root
        return {
            "place": os.path.realpath(str(self.folder)),
            "python": VERSION + " " + os.path.realpath(INTERPRETER),
            "pins": digest(root / "constraints.txt", root / "bootstrap.py"),
            "project": digest(root / "pyproject.toml", root / "client" / "samovar" / "version.py"),
        }

    def stale(self):
        """The parts in which the environment is out of date: every one if it was never finished."""
        wanted = self.wanted()
        try:
            stamp = dict(json.loads(self.stamp.read_text()))
        except (OSError, ValueError, TypeError):
            stamp = {}
        if not (self.python.exists() and self.invoke.exists()):  # a dangling link does not exist either
            stamp = {}
        return [part for part in wanted if stamp.get(part) != wanted[part]]

    def ensure(self):
        """Make, repair or bring up to date what has to be, one process at a time."""
        if not self.stale():
            return
        with locked(self.root / ".bootstrap.lock") as lock:
            stale = self.stale()  # the process waited for may have done the work
            if stale:
                self.renew(stale, lock)

    def renew(self, stale, lock):
        """Install what `stale` calls for; from nothing, unless only the project's metadata changed."""
        wanted = self.wanted()  # before the work: a file changed meanwhile is then noticed by the next run
        build = build_requirements(self.root)
        if stale == ["project"]:
            self.stamp.unlink()
        else:
            self.create(stale)
        self.pip("the build requirements", ["-c", "constraints.txt", *build], lock)
        editable = ["-c", "constraints.txt", "--no-build-isolation", "-e", EXTRAS]
        self.pip("samovar with its daemon and dev extras", editable, lock)
        fresh = self.stamp.with_suffix(".new")
        fresh.write_text(json.dumps(wanted, indent=1))
        fresh.replace(self.stamp)

    def create(self, stale):
        """An empty environment, whatever was there before."""
        check_venv()
        print(f"making {self.folder} with Python {VERSION}: {self.why(stale)}", flush=True)
        with contextlib.suppress(OSError):  # --clear ends with this too, but may be interrupted before
            self.stamp.unlink()
        command = [INTERPRETER, "-m", "venv", "--clear", str(self.folder)]
        made = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        if made.returncode:
            print(tail(made.stdout.decode(errors="replace")), file=sys.stderr)
            raise Failure(
                f"Python's venv could not make {self.folder} (exit code {made.returncode}, its words above); "
                "remove what is there, or install python3-venv, and run this again."
            )

    def why(self, stale):
        """The reason for making it, in words."""
        if not self.folder.exists():
            return "there is none yet"
        if len(stale) == len(REASONS):
            return "the one there was never finished"
        return " and ".join(REASONS[part] for part in stale)

    def pip(self, what, arguments, lock=None):
        """Run pip install, showing that it moves; what it says goes to the log."""
        print(f"installing {what}", flush=True)
        quiet = ["--no-input", "--progress-bar", "off"]
        code = self.watch([str(self.python), "-m", "pip", "install", *quiet, *arguments], lock)
        if code:
            print(tail(self.log.read_text(errors="replace")), file=sys.stderr)
            raise Failure(
                f"pip could not install {what} (exit code {code}, its last words above, all of them in "
                f"{self.log}; a conflict with a constraint mostly means that no package index was reached); "
                "check the network and `python3 -m pip config list`, then run this again."
            )

    def watch(self, command, lock):
        """The exit code of `command`, whose output goes to the log."""
        progress = Progress(self.log, self.path("purelib"), len(pinned(self.root / "constraints.txt")))
        with self.log.open("wb") as log:
            options = {"cwd": str(self.root), "env": self.variables(), "stdin": subprocess.DEVNULL}
            if lock and fcntl:  # should this process be killed, the next one waits until pip has ended
                options["pass_fds"] = [lock.fileno()]
            with subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, **options) as job:
                try:
                    while job.poll() is None:
                        progress.show()
                        time.sleep(0.1)
                finally:
                    if job.poll() is None:
                        job.terminate()
        progress.write("failed" if job.returncode else "done", end="\n")
        return job.returncode

    def run(self, arguments):
        """The exit code of invoke, run in the checkout with `arguments`."""
        command = [str(self.python), "-m", "invoke", *arguments]
        return finish(command, cwd=str(self.root), env=self.variables())


def resolve(root):
    """Name and version of all that a fresh install of the extras takes: {name: version}."""
    with tempfile.TemporaryDirectory() as temporary:
        scratch = Environment(root, Path(temporary) / "venv")
        report = Path(temporary) / "report.json"
        scratch.create(list(REASONS))
        wanted = [EXTRAS, *build_requirements(root)]
        scratch.pip("nothing: only resolving", ["--dry-run", "--report", str(report), *wanted])
        found = [item["metadata"] for item in json.loads(report.read_text())["install"]]
    names = {re.sub(r"[-_.]+", "-", item["name"]).lower(): item["version"] for item in found}
    del names["samovar"]
    return names


def pins(root):
    """Write constraints.txt anew and say what changed."""
    if sys.version_info[:2] != OLDEST:
        raise Failure(
            f"pins have to suit the oldest supported Python, 3.11, and this is Python {VERSION}; "
            "run `python3.11 bootstrap.py pins`."
        )
    path = root / "constraints.txt"
    before, after = pinned(path), resolve(root)
    path.write_text(PINS_HEADER + "".join(f"{name}=={after[name]}\n" for name in sorted(after)))
    for name in sorted(set(before) | set(after)):
        if before.get(name) != after.get(name):
            print(f"{name}: {before.get(name, 'none')} -> {after.get(name, 'none')}")
    print(f"{path} pins {len(after)} packages")
    return 0


def obey(arguments):
    """Do what the command line asks; return the exit code."""
    command = arguments[0] if arguments else "--help"
    if command in ("-h", "--help"):
        print(USAGE)
        return 0 if arguments else 2
    if command not in ("demo", "test", "setup", "pins"):
        raise Failure(f"the command is {command!r}, and there are demo, test, setup and pins; see --help.")
    if command == "pins":
        return pins(ROOT)
    environment = Environment(ROOT)
    environment.ensure()
    if command == "setup":
        print(f"{environment.folder} is ready; `python3 bootstrap.py demo` shows what samovar does")
        return 0
    return environment.run(arguments)


def main(arguments):
    """Run, and turn what can be foreseen into one sentence and an exit code."""
    try:
        check_python(sys.version_info)
        return obey(arguments)
    except Failure as failure:
        print(f"bootstrap: {failure}", file=sys.stderr)
    except OSError as error:
        print(f"bootstrap: {error}; put that right and run this again.", file=sys.stderr)
    except KeyboardInterrupt:
        print("\nbootstrap: interrupted; run it again to go on.", file=sys.stderr)
        return INTERRUPTED
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
