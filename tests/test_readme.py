"""The README is run, not read: its tour in a shell, its Python, and its two-line tasks.py."""

import re
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from daemons import INVOKE, Place, Places, places  # noqa: F401 - a fixture

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text("utf-8")

VARYING = (
    (r"\b[0-9a-f]{11}-[0-9a-f]{8}\b", "TICKET"),
    (r"\bpid \d+", "pid PID"),
)


def block(language: str) -> str:
    """The first fenced block of that language."""
    found = re.search(rf"```{language}\n(.*?)```", README, re.DOTALL)
    assert found, f"the README has no {language} block"
    return found[1]


def tour() -> list[tuple[str, str]]:
    """Each command with the output that the README shows for it."""
    steps = re.split(r"^\$ (.*)\n", block("console"), flags=re.MULTILINE)[1:]
    return list(zip(steps[::2], steps[1::2], strict=True))


def settled(text: str) -> str:
    """The text without what differs from run to run."""
    for pattern, word in VARYING:
        text = re.sub(pattern, word, text)
    return text.strip()


@pytest.fixture
def home(places: Places) -> Place:
    place = places(config="default_model: reader\n")
    shutil.copytree(ROOT / "docs", place.root / "docs")
    return place


def test_the_tour_prints_what_the_readme_shows(home: Place) -> None:
    seen: dict[str, str] = {}
    for command, shown in tour():
        words = [seen.get(word, word) for word in shlex.split(command)]
        if words[0] == "kill":
            home.kill9()
            continue
        done = home.run(*words[1:], cwd=home.root)
        assert settled(done.out) == settled(shown), command
        assert done.code == 0, done
        # The ticket and the pid that the README shows stand for those of this run.
        for pattern, _ in VARYING:
            seen |= dict(zip(re.findall(pattern, shown), re.findall(pattern, done.out), strict=True))


def test_the_python_of_the_readme_runs(home: Place) -> None:
    done = home.finish(home.launch([sys.executable, "-c", block("python")]))
    assert done.code == 0, done
    assert "A fork costs a pointer." in done.out
    assert done.out.rstrip().endswith("done")


def test_the_two_lines_of_the_readme_mount_the_tasks(home: Place) -> None:
    (home.root / "tasks.py").write_text(README.split("in two lines:")[1].split("```python\n")[1].split("```")[0])
    done = home.finish(home.launch([INVOKE, "reader.list"], cwd=home.root))
    assert (done.code, done.out.strip()) == (0, "no sessions; start one with `samovar spawn NAME`"), done


def test_the_example_answers_from_the_file_it_is_given(home: Place) -> None:
    notes = home.root / "notes.md"
    notes.write_text("A fork costs nothing but a pointer. After kill -9 everything is back. Only you may connect.\n")
    for _ in range(2):  # The second run clears what the first left.
        done = home.finish(home.launch([sys.executable, str(ROOT / "examples/orchestrator.py"), str(notes)]))
        assert done.code == 0, done
        assert "A fork costs nothing but a pointer." in done.out.split("chief:")[1]


def test_the_demo_ends_well_and_leaves_neither_a_daemon_nor_a_folder(home: Place) -> None:
    temporary = home.around / "tmp"
    temporary.mkdir()
    picture = home.around / "demo.svg"
    process = home.start("demo", "--svg", str(picture), env={"TMPDIR": str(temporary)})
    done = home.finish(process)
    assert done.code == 0, done
    assert "0 lost" in done.out
    assert "<svg" in picture.read_text("utf-8")
    assert list(temporary.iterdir()) == []


def test_a_demo_that_is_interrupted_leaves_nothing_either(home: Place) -> None:
    temporary = home.around / "tmp"
    temporary.mkdir()
    process = home.start("demo", env={"TMPDIR": str(temporary), "PYTHONUNBUFFERED": "1"}, stderr=subprocess.STDOUT)
    assert process.stdout
    while b"at once" not in process.stdout.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    done = process.communicate(timeout=60)
    assert process.returncode == 130, done
    assert b"Traceback" not in done[0]
    assert list(temporary.iterdir()) == []
