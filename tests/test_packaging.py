"""What a person gets from the distribution, and what bootstrap.py promises before anything is installed."""

import ast
import contextlib
import email
import fcntl
import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from email.message import Message
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from daemons import Places, places  # noqa: F401 - a fixture

ROOT = Path(__file__).resolve().parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def required(lines: list[str]) -> set[str]:
    """The distributions that requirement lines name."""
    return {normal(re.split(r"[^\w.-]", line, maxsplit=1)[0]) for line in lines}


# ---------------------------------------------------------------- the wheel


@pytest.fixture(scope="session")
def metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        return email.message_from_bytes(archive.read(name))


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment, outside the checkout, that holds the wheel and its base dependencies."""
    folder = tmp_path_factory.mktemp("elsewhere") / "env"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    python = folder / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet"]
    pinned = ["-c", ROOT / "constraints.txt", wheel]
    done = subprocess.run([*pip, *pinned], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return python


def run_elsewhere(python: Path, *arguments: str) -> str:
    """The output of `python`, which sees neither the checkout nor this run's environment."""
    bare = {name: text for name, text in os.environ.items() if not name.startswith("PYTHON")}
    options: dict[str, Any] = {"cwd": python.parent, "env": bare, "timeout": 60}
    done = subprocess.run([python, *arguments], capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_installing_the_wheel_brings_pyzmq_and_invoke_and_nothing_else(installed: Path) -> None:
    listing = "import importlib.metadata as m; print(*(d.name for d in m.distributions()))"
    assert required(run_elsewhere(installed, "-c", listing).split()) == {"samovar", "pyzmq", "invoke"}


def test_importing_the_installed_client_loads_no_module_of_the_daemon(installed: Path) -> None:
    code = "import sys, samovar; print(*[n for n in sys.modules if n.partition('.')[0] == 'samovard'])"
    assert run_elsewhere(installed, "-c", code).strip() == ""


def test_the_installed_version_is_the_one_in_version_py(installed: Path) -> None:
    code = "import importlib.metadata as m, samovar.version as v; print(m.version('samovar') == v.__version__)"
    assert run_elsewhere(installed, "-c", code).strip() == "True"


def test_installing_the_wheel_makes_the_samovar_command(installed: Path) -> None:
    assert os.access(installed.parent / "samovar", os.X_OK)


def test_the_client_alone_works_against_a_daemon_that_is_up(installed: Path, places: Places) -> None:
    place = places()
    place.up()
    done = place.finish(place.launch([str(installed.parent / "samovar"), "spawn", "w1"]))
    assert (done.code, done.out) == (0, "w1: fake, idle, 0 message(s)\n"), done
    assert place.finish(place.launch([str(installed.parent / "samovar"), "eval", "1 + 1"])).out == "2\n"


def test_the_client_alone_names_the_missing_extra_where_it_has_to_start_a_daemon(
    installed: Path, places: Places
) -> None:
    place = places()
    done = place.finish(place.launch([str(installed.parent / "samovar"), "list"]))
    assert done.code == 3
    assert "pip install 'samovar[daemon]'" in done.err
    assert done.err.endswith("[missing_extra]\n")
    demo = place.finish(place.launch([str(installed.parent / "samovar"), "demo"]))
    assert (demo.code, demo.err.endswith("[missing_extra]\n")) == (3, True), demo


def test_the_metadata_lists_the_three_extras(metadata: Message) -> None:
    assert metadata.get_all("Provides-Extra", []) == ["daemon", "dev", "vllm"]


def test_the_metadata_asks_for_python_3_11_and_names_the_licence(metadata: Message) -> None:
    assert (metadata["Requires-Python"], metadata["License-Expression"]) == (">=3.11", "MIT")


PAPERS = ("docs/architecture.md", "docs/gotchas.md", "docs/ops.md")
"""What the demo reads, beside the README, where there is no checkout."""


def test_the_wheel_holds_every_file_of_both_packages_the_papers_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    ours = {
        path.relative_to(top).as_posix()
        for top in (ROOT / "client", ROOT / "daemon")
        for path in top.glob("samovar*/**/*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    papers = {name for name in held if name.startswith("samovar/papers/")}
    assert held - papers == ours
    assert papers == {f"samovar/papers/{name}" for name in ("README.md", *PAPERS)}


# ---------------------------------------------------------------- the pins


def pins() -> list[str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return [line for line in lines if not line.startswith("#")]


def test_constraints_hold_names_and_exact_versions_and_nothing_else() -> None:
    odd = [line for line in pins() if not re.fullmatch(r"[a-z0-9-]+==[0-9]+(\.[0-9a-z]+)*", line)]
    assert pins() and odd == []


def test_constraints_pin_each_package_once_in_order() -> None:
    names = [line.split("==")[0] for line in pins()]
    assert names == sorted(set(names))


def test_constraints_pin_all_that_a_bootstrap_asks_for() -> None:
    project = PYPROJECT["project"]
    extras = project["optional-dependencies"]
    asked = required([*project["dependencies"], *extras["daemon"], *extras["dev"]])
    asked |= required(PYPROJECT["build-system"]["requires"])
    assert asked - required(pins()) == set()


# ---------------------------------------------------------------- bootstrap.py: the machine


@pytest.fixture
def bootstrap() -> ModuleType:
    """bootstrap.py as a module of its own, so that a test may change it."""
    spec = importlib.util.spec_from_file_location("bootstrap_under_test", ROOT / "bootstrap.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_bootstrap_parses_under_python_3_6() -> None:
    assert ast.parse((ROOT / "bootstrap.py").read_text(), feature_version=(3, 6))


def test_bootstrap_imports_nothing_outside_the_standard_library() -> None:
    nodes = list(ast.walk(ast.parse((ROOT / "bootstrap.py").read_text())))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    assert names - sys.stdlib_module_names == set()


@pytest.mark.parametrize("version", [(3, 6, 15), (3, 10, 13)])
def test_an_old_python_gets_one_sentence_that_names_both_versions(
    bootstrap: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    version: tuple[int],
) -> None:
    monkeypatch.setattr(bootstrap.sys, "version_info", version)
    code = bootstrap.main(["test"])
    monkeypatch.undo()
    printed = capsys.readouterr().err
    assert code == 1 and printed.count("\n") == 1
    assert "needs Python 3.11" in printed and ".".join(map(str, version)) in printed


def test_python_3_11_is_new_enough(bootstrap: ModuleType) -> None:
    assert bootstrap.check_python((3, 11, 0, "final", 0)) is None


@pytest.mark.parametrize("name", ["venv", "ensurepip"])
def test_a_python_without_venv_is_told_what_to_install(bootstrap: ModuleType, name: str) -> None:
    def load(wanted: str) -> None:
        if wanted == name:
            raise ModuleNotFoundError(wanted)

    with pytest.raises(bootstrap.Failure, match=f"lacks its module {name}.*apt install python3-venv"):
        bootstrap.check_venv(load)


def test_an_unknown_command_gets_one_sentence_that_names_the_known_ones(
    bootstrap: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bootstrap.main(["brew"]) == 1
    printed = capsys.readouterr().err
    assert "'brew'" in printed and "demo, test, setup and pins" in printed and printed.count("\n") == 1


# ---------------------------------------------------------------- bootstrap.py: the stamp


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The files that the stamp is made from."""
    root = tmp_path / "checkout"
    for name in ("pyproject.toml", "constraints.txt", "bootstrap.py", "client/samovar/version.py"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, root / name)
    return root


@pytest.fixture
def complete(bootstrap: ModuleType, checkout: Path) -> Any:
    """An environment that looks complete: its stamp matches and its programs exist."""
    return pretend(bootstrap.Environment(checkout))


def pretend(environment: Any) -> Any:
    """Put into `environment` what bootstrap looks at, without the cost of an installation."""
    environment.python.parent.mkdir(parents=True, exist_ok=True)
    environment.python.unlink(missing_ok=True)
    environment.python.symlink_to(sys.executable)
    environment.invoke.touch()
    environment.stamp.write_text(json.dumps(environment.wanted()))
    return environment


EVERY_PART = ["place", "python", "pins", "project"]


def test_a_complete_environment_is_left_alone(complete: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(complete, "renew", lambda *_: pytest.fail("it was made again"))
    complete.ensure()
    assert complete.stale() == []


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("pyproject.toml", "project"),
        ("client/samovar/version.py", "project"),
        ("constraints.txt", "pins"),
        ("bootstrap.py", "pins"),
    ],
)
def test_a_changed_file_makes_the_environment_stale(complete: Any, name: str, part: str) -> None:
    with (complete.root / name).open("a") as file:
        file.write("# changed\n")
    assert complete.stale() == [part]


def test_a_moved_checkout_is_noticed(bootstrap: ModuleType, complete: Any, tmp_path: Path) -> None:
    moved = complete.root.rename(tmp_path / "moved")
    assert bootstrap.Environment(moved).stale() == ["place"]


def test_a_checkout_reached_through_a_link_has_not_moved(bootstrap: ModuleType, complete: Any, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(complete.root)
    assert bootstrap.Environment(tmp_path / "link").stale() == []


@pytest.mark.parametrize(("name", "value"), [("VERSION", "3.99.0"), ("INTERPRETER", "/elsewhere/python3")])
def test_another_python_is_noticed(
    bootstrap: ModuleType, complete: Any, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setattr(bootstrap, name, value)
    assert complete.stale() == ["python"]


@pytest.mark.parametrize("content", [None, "", "[1]", "null", "{}"])
def test_without_a_readable_stamp_the_environment_counts_as_never_finished(complete: Any, content: str | None) -> None:
    complete.stamp.unlink()
    if content is not None:
        complete.stamp.write_text(content)
    assert complete.stale() == EVERY_PART


def test_an_environment_whose_python_is_gone_counts_as_never_finished(complete: Any) -> None:
    complete.python.unlink()
    complete.python.symlink_to(complete.root / "no-such-python")
    assert complete.stale() == EVERY_PART


def test_an_interrupted_installation_leaves_no_stamp(
    bootstrap: ModuleType, complete: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    (complete.root / "pyproject.toml").write_text('[build-system]\nrequires = ["hatchling"]\n')
    monkeypatch.setattr(complete, "pip", interrupt)
    with pytest.raises(KeyboardInterrupt):
        complete.ensure()
    assert complete.stale() == EVERY_PART


def test_a_half_made_environment_is_made_anew_from_an_empty_one(complete: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    complete.stamp.unlink()
    monkeypatch.setattr(complete, "create", lambda stale: done.append(complete.why(stale)))
    monkeypatch.setattr(complete, "pip", lambda what, *_: done.append(what))
    complete.ensure()
    assert done[0] == "the one there was never finished"
    assert done[1] == "the build requirements" and len(done) == 3
    assert complete.stale() == []


def test_the_process_that_waited_for_the_lock_does_not_do_the_work_twice(
    bootstrap: ModuleType, complete: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextlib.contextmanager
    def locked_after_the_other_finished(_: Path) -> Iterator[None]:
        pretend(complete)
        yield

    complete.stamp.unlink()
    monkeypatch.setattr(bootstrap, "locked", locked_after_the_other_finished)
    monkeypatch.setattr(complete, "renew", lambda *_: pytest.fail("it was made twice"))
    complete.ensure()
    assert complete.stale() == []


def test_only_one_process_holds_the_lock(bootstrap: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with bootstrap.locked(path), path.open() as other, pytest.raises(BlockingIOError):
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)


# ---------------------------------------------------------------- bootstrap.py: pip and the job


def test_a_failing_pip_gives_the_tail_of_its_output_and_what_to_do(
    bootstrap: ModuleType, complete: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    complete.python.unlink()
    complete.python.write_text("#!/bin/sh\nseq 40\nexit 3\n")
    complete.python.chmod(0o755)
    with pytest.raises(bootstrap.Failure, match=r"could not install tea \(exit code 3.*pip config list"):
        complete.pip("tea", [])
    assert capsys.readouterr().err.split() == [str(number) for number in range(26, 41)]


def test_pip_keeps_the_persons_settings_but_installs_into_the_environment(
    complete: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_DEFAULT_TIMEOUT", "77")
    monkeypatch.setenv("PIP_USER", "1")
    monkeypatch.setenv("PYTHONPATH", "elsewhere")
    variables = complete.variables()
    assert (variables["PIP_DEFAULT_TIMEOUT"], variables["PIP_USER"]) == ("77", "0")
    assert "PYTHONPATH" not in variables


@pytest.mark.parametrize(("code", "expected"), [("exit(7)", 7), ("import os; os.kill(os.getpid(), 9)", 137)])
def test_the_jobs_exit_code_is_bootstraps(bootstrap: ModuleType, code: str, expected: int) -> None:
    before = signal.getsignal(signal.SIGTERM)
    try:
        assert bootstrap.finish([sys.executable, "-c", code]) == expected
    finally:
        signal.signal(signal.SIGTERM, before)


def test_bootstrap_passes_arguments_to_invoke_as_they_are(complete: Any) -> None:
    complete.python.unlink()
    complete.python.write_text('#!/bin/sh\nprintf "%s\\n" "$@" > seen\n')
    complete.python.chmod(0o755)
    before = signal.getsignal(signal.SIGTERM)
    try:
        assert complete.run(["test", "--", "-k", "a b"]) == 0
    finally:
        signal.signal(signal.SIGTERM, before)
    assert (complete.root / "seen").read_text().splitlines() == ["-m", "invoke", "test", "--", "-k", "a b"]


def test_ctrl_c_lets_the_job_clean_up_and_gives_130(complete: Any) -> None:
    """The real bootstrap.py, run in a checkout whose `invoke` cleans up after SIGINT."""
    complete.python.unlink()
    complete.python.write_text(
        "#!/bin/sh\ntrap 'echo clean > cleaned; exit 1' INT\necho up\n"
        # A trap runs between commands: a signal that comes just before one that blocks would wait for its end.
        "while :; do sleep 0.05; done\n"
    )
    complete.python.chmod(0o755)
    streams: dict[str, Any] = {
        "stdin": subprocess.DEVNULL,
        "stdout": subprocess.PIPE,
        "stderr": subprocess.PIPE,
    }
    command = [sys.executable, "bootstrap.py", "demo"]
    with subprocess.Popen(command, cwd=complete.root, text=True, **streams) as run:
        assert run.stdout.readline() == "up\n"
        run.send_signal(signal.SIGINT)
        assert run.wait(timeout=20) == 130
        assert "Traceback" not in run.stderr.read()
    assert (complete.root / "cleaned").read_text() == "clean\n"
