"""A full disk, and a journal that can't be written: what is refused, what goes on, and that nothing told is lost."""

import errno
import os
import re
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from daemons import Done, Place, Places, eventually
from samovar import Client, SamovarError

SIZE_MB = 12
BIG = "x" * 400_000


def mounted(*words: str) -> None:
    """Runs `mount`. Skips the test where that is not permitted."""
    if not shutil.which("mount"):
        pytest.skip("there is no mount command here")
    done = subprocess.run(["mount", *words], capture_output=True, text=True, timeout=60, check=False)
    if done.returncode:
        pytest.skip(f"a small disk can't be mounted here: {done.stderr.strip()}")


@pytest.fixture
def mount(places: Places) -> Iterator[Callable[..., None]]:
    """Mounts on a folder; all is unmounted again at the end, before the folder is removed."""
    points: list[Path] = []

    def at(point: Path, *words: str) -> None:
        point.mkdir(parents=True, exist_ok=True)
        mounted(*words, str(point))
        points.append(point)

    yield at
    for point in reversed(points):
        # Lazily, since a daemon that a failed test left is ended only after this.
        subprocess.run(["umount", "--lazy", str(point)], check=True, timeout=60)


class SmallDisk:
    """A disk of a few MB that can be filled up and freed."""

    def __init__(self, folder: Path) -> None:
        self._ballast = folder / "ballast"

    def fill(self) -> None:
        with self._ballast.open("ab", buffering=0) as file:
            for size in (65536, 4096, 1):
                try:
                    while True:
                        file.write(b"." * size)
                except OSError as error:
                    assert error.errno == errno.ENOSPC, error

    def free(self) -> None:
        self._ballast.unlink()


@pytest.fixture
def disk(place: Place, mount: Callable[..., None]) -> SmallDisk:
    """The small disk that holds the place's home, with its config."""
    config = (place.root / "samovar.yaml").read_bytes()
    mount(place.root, "-t", "tmpfs", "-o", f"size={SIZE_MB}m,mode=755", "samovar-test")
    (place.root / "samovar.yaml").write_bytes(config)
    return SmallDisk(place.root)


def ask_until_refused(client: Client, session: str) -> tuple[list[Any], SamovarError]:
    """Asks until the journal takes no more; the replies that were given, and the refusal."""
    replies = []
    for _ in range(10 * SIZE_MB):
        try:
            replies.append(client.call("ask", session=session, prompt=BIG))
        except SamovarError as error:
            return replies, error
    raise AssertionError("the disk never got full")


def refused(done: Done) -> None:
    assert (done.code, done.out) == (1, ""), done
    assert re.fullmatch(r"error: [^\n]* \[journal_unwritable\]\n", done.err), done


def test_on_a_full_disk_asks_are_refused_reads_go_on_and_nothing_told_is_lost(place: Place, disk: SmallDisk) -> None:
    place.up()
    with place.client() as client:
        client.spawn("w1")
        first = client.call("ask", session="w1", prompt="before")
        disk.fill()
        replies, error = ask_until_refused(client, "w1")
        assert (error.code, error.fault, error.retryable) == ("journal_unwritable", "daemon", True)
        assert "free some space" in error.message
        before = client.call("history", session="w1")
        told = [first["message"], *(reply["message"] for reply in replies)]
        assert [message["id"] for message in before["messages"] if message["role"] == "assistant"] == told

    refused(place.run("ask", "w1", "-", stdin=BIG.encode()))
    refused(place.run("ask-async", "w1", "-", stdin=BIG.encode()))
    refused(place.run("spawn", "w2", "--system", f"@{big_file(place)}"))

    assert [(view["name"], view["state"]) for view in place.json("list")] == [("w1", "idle")]
    assert place.json("history", "w1") == before
    assert place.json("poll", first["ask"])["state"] == "done"
    assert place.json("status", "w1")["running"] == 0
    assert place.ok("eval", "1 + 1") == "2\n"

    disk.free()
    place.ok("ask", "w1", "after")
    place.ok("spawn", "w2")
    contents = [message["content"] for message in place.json("history", "w1")["messages"]]
    assert contents[-2] == "after"
    assert contents[: before["total"]] == [message["content"] for message in before["messages"]]


def big_file(place: Place) -> Path:
    file = place.around / "big.txt"
    file.write_text(BIG)
    return file


def test_a_reply_that_can_not_be_kept_is_not_told_as_one(place: Place, disk: SmallDisk) -> None:
    """The prompt still fits, the reply does not."""
    place.up()
    place.ok("spawn", "w1", "--model", f"fake/big:{(SIZE_MB + 2) * 1_000_000}")
    done = place.run("ask", "w1", "hello", "--json")
    assert (done.code, done.out) == (1, "")
    assert "[journal_unwritable]" in done.err
    status = place.json("status", "w1")
    assert (status["session"]["state"], status["session"]["messages"]) == ("idle", 0)
    (ask,) = status["asks"]
    polled = place.json("poll", ask["ask"])
    assert (polled["state"], polled["error"]["code"]) == ("failed", "journal_unwritable")
    assert place.json("history", "w1")["messages"] == []
    # It goes on: the disk has room again, now that the transaction is undone.
    place.ok("fork", "w1", "w2", "--model", "fake")
    place.ok("ask", "w2", "hello")


def test_an_ask_that_was_running_when_the_disk_got_full_ends_one_way_or_the_other(
    place: Place, disk: SmallDisk
) -> None:
    place.up()
    place.ok("spawn", "w1", "--model", "fake/words:40:0.05")
    with place.client() as client:
        ticket = client.ask_async("w1", "hello").ask
        eventually(lambda: client.poll(ticket).state == "running", "the ask runs")
        disk.fill()
        view = client.poll(ticket, wait_s=60)
        messages = client.history("w1").messages
        if view.state == "done":
            assert messages[-1].content == view.text
        else:
            assert view.error and (view.state, view.error.code) == ("failed", "journal_unwritable")
            assert messages == []
        assert client.status(session="w1").session.state == "idle"


def test_a_daemon_that_starts_on_a_full_disk_says_so_or_works_and_loses_nothing(place: Place, disk: SmallDisk) -> None:
    place.up()
    place.ok("spawn", "w1")
    with place.client() as client:
        disk.fill()
        replies, _ = ask_until_refused(client, "w1")
    place.down()
    place.wait_until_down()
    assert place.leavings() == []

    disk.fill()
    done = place.run("up")
    if done.code != 0:
        assert done.code == 3
        assert re.fullmatch(r"error: [^\n]* \[\w+\]\n", done.err), done
        assert "space" in done.err
        place.wait_until_down()
        assert place.leavings() == []
    disk.free()

    place.ok("up")
    history = place.json("history", "w1")["messages"]
    assert [m["id"] for m in history if m["role"] == "assistant"] == [reply["message"] for reply in replies]
    place.ok("ask", "w1", "after")


def test_a_daemon_that_was_killed_on_a_full_disk_comes_back_once_there_is_space(place: Place, disk: SmallDisk) -> None:
    place.up()
    with place.client() as client:
        client.spawn("w1")
        disk.fill()
        replies, _ = ask_until_refused(client, "w1")
    place.kill9()
    done = place.run("list", "--json")
    assert done.code in (0, 1, 3)
    assert "Traceback" not in done.err
    if place.home.up():
        place.kill9()
    disk.free()
    history = place.json("history", "w1")["messages"]
    assert [m["id"] for m in history if m["role"] == "assistant"] == [reply["message"] for reply in replies]


def test_a_log_that_can_not_be_written_costs_its_lines_and_nothing_else(places: Places, mount: Any) -> None:
    place = places()
    logs = Path(place.home.logs)
    mount(logs, "-t", "tmpfs", "-o", "size=64k,mode=755", "samovar-test")
    place.up()
    SmallDisk(logs).fill()
    place.ok("spawn", "w1")
    for number in range(300):
        assert place.home.up(), f"the daemon ended at ask {number}"
        if number % 30 == 0:
            place.ok("ask", "w1", "hello")
        else:
            with place.client() as client:
                client.ask("w1", "hello")
    assert place.json("history", "w1")["total"] == 600
    assert place.ok("eval", "1 + 1") == "2\n"
    SmallDisk(logs).free()
    place.ok("spawn", "w2")
    assert "session=w2" in place.ok("logs")
    place.down()
    place.wait_until_down()


def test_a_daemon_whose_sessions_folder_is_read_only_does_not_start_and_says_why(
    place: Place, mount: Callable[..., None]
) -> None:
    place.up()
    place.ok("spawn", "w1")
    place.ok("ask", "w1", "hello")
    history = place.json("history", "w1")
    place.down()
    place.wait_until_down()
    sessions = Path(place.home.sessions)
    mount(sessions, "--bind", str(sessions))
    mounted("-o", "remount,bind,ro", str(sessions))

    done = place.run("list")
    assert (done.code, done.out) == (3, "")
    assert re.fullmatch(r"error: [^\n]* \[journal_un\w+\]\n", done.err), done
    assert "read" in done.err
    place.wait_until_down()
    assert place.leavings() == []

    mounted("-o", "remount,bind,rw", str(sessions))
    assert place.json("history", "w1") == history


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason=f"{sys.platform} limits no other process")
def test_a_journal_that_may_not_grow_refuses_asks_and_serves_reads_until_it_may(place: Place) -> None:
    """As on a full disk, and it needs no right to mount."""
    pid = place.up()
    with place.client() as client:
        client.spawn("w1")
        first = client.ask("w1", "before")
        limits = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, limits[1]))
        with pytest.raises(SamovarError) as told:
            client.ask("w1", BIG)
        assert told.value.code == "journal_unwritable"
        assert client.history("w1").total == 2
        assert client.poll(first.ask).state == "done"
        resource.prlimit(pid, resource.RLIMIT_FSIZE, limits)
        assert client.ask("w1", "after").state == "done"
        assert client.history("w1").total == 4
    place.kill9()
    assert place.json("history", "w1")["total"] == 4
    assert os.listdir(place.home.sessions)
