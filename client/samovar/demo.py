"""`samovar demo`: a base conversation that reads documents, forked into workers, relayed, killed and back again.

It runs on a daemon and in a home of its own, which are gone when it ends: no live session of the user's is touched.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import signal
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.columns import Columns
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from .client import Client, TextStream
from .errors import SamovarError
from .home import Home
from .prompt import document, read_text
from .render import lineage, seconds, tokens
from .results import AskView

QUESTIONS = ("What is a fork, and what does it cost?", "What happens after kill -9?", "Who may connect to the daemon?")
_PAPERS = ("README.md", "docs/architecture.md", "docs/gotchas.md", "docs/ops.md")
_COLOURS = ("cyan", "magenta", "yellow", "green", "blue")
_WORDS_PER_S = 60
_WIDTH = 100


def play(files: Sequence[str], *, svg: str | None = None) -> int:
    """Plays the demo over `files`, by default samovar's own papers; saves a picture of it as `svg`. Returns 0."""
    chosen = list(files) or default_files()
    documents = "\n\n".join(document(os.path.basename(path), read_text(path)) for path in chosen)
    questions = QUESTIONS if not files else questions_about(documents)
    stage = Stage(svg)
    with own_home() as home, Client(home) as client:
        Play(stage, client, home).run(chosen, documents, questions)
    stage.save()
    return 0


def default_files() -> list[str]:
    """samovar's own README and docs: those of the checkout, else those that the wheel brought."""
    here = Path(__file__).parent
    for root in (here.parents[1], here / "papers"):
        found = [str(root / name) for name in _PAPERS if (root / name).exists()]
        if found:
            return found
    raise SamovarError("samovar's own papers are not here; name a file for the demo to read", code="file_unreadable")


def questions_about(documents: str) -> list[str]:
    """Three questions that some text can answer: about its headings, else about the words it uses most."""
    headings = [h.strip(" `*#").lower() for h in re.findall(r"^#{1,3} +(.+)$", documents, re.MULTILINE)]
    words = [word for word, _ in Counter(re.findall(r"[A-Za-z]{7,}", documents.lower())).most_common(3)]
    topics = list(dict.fromkeys([*headings[1:4], *words]))[:3] or ["this text"]
    return [f"What does it say about {topic}?" for topic in topics]


@contextmanager
def own_home() -> Iterator[Home]:
    """A home for one demo; its daemon is ended and its folder removed, whatever happens."""
    folder = tempfile.mkdtemp(prefix="samovar-demo-")
    home = Home(folder)
    Path(home.config).write_text("default_model: reader\n", "utf-8")
    try:
        yield home
    finally:
        found = home.connection() if home.up() else None
        if found:
            os.kill(found["pid"], signal.SIGTERM)
            wait_until_down(home)
        shutil.rmtree(folder, ignore_errors=True)


def wait_until_down(home: Home) -> None:
    """Returns when the daemon's lock is free, or after 15 s."""
    deadline = time.monotonic() + 15
    while home.up() and time.monotonic() < deadline:
        time.sleep(0.01)


class Stage:
    """Where the demo is shown: the terminal and, for the picture, a recording of what stays on it."""

    def __init__(self, svg: str | None) -> None:
        self.console = Console(highlight=False)
        self._svg = svg
        self._record = Console(file=io.StringIO(), record=True, width=_WIDTH, highlight=False, force_terminal=True)
        self._colours: dict[str, str] = {}

    def show(self, *things: RenderableType) -> None:
        """Shows what stays."""
        for thing in things:
            self.console.print(thing)
            self._record.print(thing)

    def step(self, number: int, text: str) -> None:
        """Begins an act."""
        self.show(Text(f"\n{number}. {text}", style="bold"))

    def colour(self, name: str) -> str:
        """A session's own colour."""
        return self._colours.setdefault(name, _COLOURS[len(self._colours) % len(_COLOURS)])

    def card(self, speaker: str, listener: str, said: str, answer: str, foot: str = "") -> Panel:
        """Who said what to whom."""
        colour = self.colour(listener)
        body = Group(Text(f"{speaker}: {said}", style="dim"), Text(answer))
        title = f"[{colour}]{escape(listener)}[/]"
        return Panel(
            body, title=title, title_align="left", subtitle=foot or None, subtitle_align="right", border_style=colour
        )

    def save(self) -> None:
        """Writes the picture; it names a monospaced font and, unlike rich's own, fetches none."""
        if self._svg:
            drawn = self._record.export_svg(title="samovar demo")
            Path(self._svg).write_text(re.sub(r"@font-face \{.*?\}", "", drawn, flags=re.DOTALL), "utf-8")


class Play:
    """The acts, in order."""

    def __init__(self, stage: Stage, client: Client, home: Home) -> None:
        self.stage = stage
        self.client = client
        self.home = home

    def run(self, files: Sequence[str], documents: str, questions: Sequence[str]) -> None:
        """All of it."""
        self.read(files, documents)
        workers = self.fork_and_ask(questions)
        self.relay(workers)
        self.fork_onward(questions)
        self.kill_and_return()
        self.close()

    def read(self, files: Sequence[str], documents: str) -> None:
        """A base session reads the documents."""
        self.stage.step(1, f"A session, base, reads {len(files)} file(s), once")
        self.client.spawn("base", model="reader", settings={"words_per_s": _WORDS_PER_S})
        prompt = f"{documents}\n\nRead this, and keep it in mind."
        names = ", ".join(os.path.basename(path) for path in files)
        self._ask_all([("you", "base", prompt, f"{names}: read this, and keep it in mind.")])

    def fork_and_ask(self, questions: Sequence[str]) -> list[str]:
        """Three forks answer three questions at once."""
        names = [f"w{number}" for number in range(1, len(questions) + 1)]
        began = time.perf_counter()
        for name in names:
            self.client.fork("base", name)
        took = seconds((time.perf_counter() - began) / len(names))
        self.stage.step(2, f"{len(names)} forks of it, {took} each, are asked at once: nothing was copied")
        self._ask_all([("you", name, question, question) for name, question in zip(names, questions, strict=True)])
        return names

    def relay(self, workers: Sequence[str]) -> None:
        """Their answers go to an orchestrator."""
        self.stage.step(3, "Their answers are relayed to an orchestrator, chief")
        self.client.spawn("chief", model="reader", system="You gather what the workers found.")
        for name in workers:
            view = self.client.relay(name, "chief", note=f"Keep in mind what {name} found.")
            self.stage.show(self.stage.card(name, "chief", "(its last reply)", view.text, _foot(view)))

    def fork_onward(self, questions: Sequence[str]) -> None:
        """One worker is forked further, and knows what it was asked."""
        self.stage.step(4, "One worker is forked onward: the fork knows all that w1 knew")
        self.client.fork("w1", "w1:deeper")
        again = questions[0].rstrip("?") + ", in other words?"
        self._ask_all([("you", "w1:deeper", again, again)])

    def kill_and_return(self) -> None:
        """The daemon is killed and comes back with everything."""
        before = self._everything()
        pid = self.client.ping().pid
        self.stage.step(5, f"kill -9 {pid}: the daemon is gone")
        os.kill(pid, signal.SIGKILL)
        wait_until_down(self.home)
        began = time.perf_counter()
        self.client.ping()
        took = seconds(time.perf_counter() - began)
        after = self._everything()
        lost = sum(a != b for a, b in zip(before, after, strict=False)) + abs(len(before) - len(after))
        self.stage.show(
            f"   The next call started another (pid {self.client.ping().pid}) and was answered after {took}: "
            f"{len(after)} messages in {len(self.client.list())} sessions, {lost} lost."
        )

    def _everything(self) -> list[tuple[str, str]]:
        return [
            (session.name, message.id)
            for session in self.client.list()
            for message in self.client.history(session.name).messages
        ]

    def close(self) -> None:
        """The lineage, and what it took."""
        views = self.client.call("list")
        self.stage.show("", _tree(self.stage, views), "", _closing_table(self.stage, self.client, views))

    def _ask_all(self, asks: Sequence[tuple[str, str, str, str]]) -> None:
        """Asks at once, shows the replies as they come, and leaves them standing."""
        running = [_Running(self.client, *ask) for ask in asks]
        with Live(console=self.stage.console, transient=True, refresh_per_second=15) as live:
            while any(one.is_alive() for one in running):
                live.update(Columns([self._card(one) for one in running], expand=True))
                time.sleep(0.05)
        for one in running:
            if one.failure:
                raise one.failure
            self.stage.show(self._card(one))

    def _card(self, one: _Running) -> Panel:
        return self.stage.card(one.speaker, one.listener, one.shown, one.text, _foot(one.reply) if one.reply else "…")


class _Running(threading.Thread):
    """One ask under way, with its text so far."""

    def __init__(self, client: Client, speaker: str, listener: str, prompt: str, shown: str) -> None:
        super().__init__(daemon=True)
        self.speaker, self.listener, self.shown = speaker, listener, shown
        self.text = ""
        self.reply: AskView | None = None
        self.failure: SamovarError | None = None
        self._stream: TextStream = client.session(listener).stream(prompt)
        self.start()

    def run(self) -> None:
        """Reads the stream to its end."""
        try:
            for part in self._stream:
                self.text += part
            self.reply = self._stream.reply
        except SamovarError as error:
            self.failure = error


def _foot(view: AskView) -> str:
    return f"{view.usage.input:,} tokens in, {view.usage.output:,} out, {seconds(view.timing.total_s)}"


def _tree(stage: Stage, views: Sequence[Any]) -> Tree:
    root = Tree("[bold]Who was forked from whom[/]")
    branches = [root]
    for depth, view in lineage(views):
        label = f"[{stage.colour(view['name'])}]{escape(view['name'])}[/] · {view['messages']} messages"
        branches[depth + 1 :] = [branches[depth].add(label)]
    return root


def _closing_table(stage: Stage, client: Client, views: Sequence[Any]) -> Table:
    table = Table(title="What it took", title_justify="left")
    for head in ("session", "model", "forked from", "messages", "asks", "tokens", "time"):
        table.add_column(head, justify="left" if head in ("session", "model", "forked from") else "right")
    for _, view in lineage(views):
        asks = client.status(session=view["name"]).asks
        took = sum(ask.timing.total_s or 0 for ask in asks)
        cells = (view["model"], view["forked_from"] or "", view["messages"], view["asks"], f"{tokens(view['usage']):,}")
        table.add_row(f"[{stage.colour(view['name'])}]{escape(view['name'])}[/]", *map(str, cells), seconds(took))
    return table
