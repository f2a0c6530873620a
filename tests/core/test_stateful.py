"""The core against a model that fits on a page: whatever is done in whatever order, both tell the same histories.

The examples are derandomized: they take the same time in every run, and a run that is red is red for everybody. To
hunt for more, set SAMOVAR_HUNT to a number of examples; they are drawn anew, and a failure tells how to repeat it.
"""

import itertools
import os
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from house import WAIT_S, House, InMemory, eventually

HUNT = int(os.environ.get("SAMOVAR_HUNT", "0"))
NAMES = ["a", "b", "c", "d"]
ECHO, HANG = "fake", "fake/hang"
FAILING = ["fake/fail:provider_error", "fake/cut:3", "fake/unfinished"]

names = st.sampled_from(NAMES)
models = st.sampled_from([ECHO, ECHO, ECHO, HANG, *FAILING])
texts = st.sampled_from(["x", "tea", "🍵 and more of it", "a\x00b", "a longer one, " * 20])


@dataclass
class Modelled:
    """What a session is to the model: a list of what was said."""

    model: str
    said: list[tuple[str, str]]
    born: int
    parent: str | None = None
    under_way: list[str] = field(default_factory=list)
    """The tickets of its asks, the running one first."""


class Sessions(RuleBasedStateMachine):
    """Every rule does the same to the core and to `live`; every step compares them."""

    def __init__(self) -> None:
        super().__init__()
        self.live: dict[str, Modelled] = {}
        self.ended: dict[str, str] = {}
        self.births = itertools.count()
        self.folders = Path(tempfile.mkdtemp(prefix="sv-stateful-"))
        self.copies = itertools.count()

    @initialize()
    def open(self) -> None:
        """Begins with something to fork from, to rewind, to relay and to interrupt."""
        self.live_in(self.folders / "first")
        self.spawn("a", ECHO, "the system prompt")
        self.ask("a", "one")
        self.ask("a", "two")
        self.fork("a", "b", 0, HANG)
        self.ask("b", "three")

    def live_in(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.house = House(folder)
        self.ops = InMemory(self.house)

    def teardown(self) -> None:
        try:
            self.house.end()
        finally:
            shutil.rmtree(self.folders)

    def code(self, op: str, **args: Any) -> str:
        """How an op went: its error's code, or `fine`."""
        return getattr(self.ops.begin(op, **args).exception(WAIT_S), "code", "fine")

    # ------------------------------------------------------------ making and ending

    @rule(name=names, model=models, system=st.none() | texts)
    def spawn(self, name: str, model: str, system: str | None) -> None:
        code = self.code("spawn", name=name, model=model, system=system)
        assert code == ("name_in_use" if name in self.live else "fine")
        said = [("system", system)] if system else []
        self.live.setdefault(name, Modelled(model, said, next(self.births)))

    @rule(name=names, new=names, place=st.integers(0, 7), model=st.none() | models)
    def fork(self, name: str, new: str, place: int, model: str | None) -> None:
        """At the end for place 0, else at that message, by its number or by its id in turn."""
        source = self.live.get(name)
        at = self.reference(name, place) if place else None
        code = self.code("fork", session=name, new=new, at=at, model=model)
        if source is None:
            assert code == "unknown_session"
        elif place > len(source.said):
            assert code == "unknown_message"
        elif new in self.live:
            assert code == "name_in_use"
        else:
            assert code == "fine"
            said = source.said[: place or None]
            self.live[new] = Modelled(model or source.model, said, next(self.births), name)

    @rule(name=names, place=st.integers(1, 7))
    def rewind(self, name: str, place: int) -> None:
        session = self.live.get(name)
        code = self.code("rewind", session=name, to=self.reference(name, place))
        if session is None:
            assert code == "unknown_session"
        elif session.under_way:
            assert code == "session_busy"
        elif place > len(session.said):
            assert code == "unknown_message"
        else:
            assert code == "fine"
            del session.said[place:]

    def reference(self, name: str, place: int) -> str:
        if place % 2 == 0 and name in self.live and place <= len(self.live[name].said):
            return str(self.ops.call("history", session=name)["messages"][place - 1]["id"])[:16]
        return str(place)

    @rule(chosen=st.lists(names, min_size=1, max_size=3))
    def kill(self, chosen: list[str]) -> None:
        code = self.code("kill", sessions=chosen)
        if not set(chosen) <= set(self.live):
            assert code == "unknown_session"
            return
        assert code == "fine"
        for name in set(chosen):
            self.ended |= dict.fromkeys(self.live.pop(name).under_way, "cancelled")

    # ------------------------------------------------------------ asking

    @rule(name=names, text=texts)
    def ask(self, name: str, text: str) -> None:
        self.asked(name, text, "ask", {"session": name, "prompt": text})

    @rule(source=names, to=names, note=st.none() | texts)
    def relay(self, source: str, to: str, note: str | None) -> None:
        replies = [text for role, text in self.live[source].said if role == "assistant"] if source in self.live else []
        if not replies:
            code = self.code("relay", source=source, target=to, note=note)
            assert code == ("no_reply" if source in self.live else "unknown_session")
            return
        quoted = f'<reply session="{source}">\n{replies[-1]}\n</reply>'
        prompt = f"{note}\n\n{quoted}" if note else quoted
        self.asked(to, prompt, "relay", {"source": source, "target": to, "note": note})

    def asked(self, name: str, prompt: str, op: str, args: dict[str, Any]) -> None:
        """Of a session that hangs only its ticket is awaited: nothing else would come."""
        session = self.live.get(name)
        if session and session.model == HANG:
            session.under_way.append(self.ops.call("ask-async", session=name, prompt=prompt)["ask"])
            first = session.under_way[0]
            eventually(lambda: self.ops.call("poll", ticket=first)["state"] == "running", "the first runs")
            return
        call = self.ops.begin(op, **args)
        error = call.exception(WAIT_S)
        if session is None:
            assert getattr(error, "code", None) == "unknown_session"
        elif session.model == ECHO:
            session.said += [("user", prompt), ("assistant", prompt)]
            self.ended[call.result()["ask"]] = "done"
        else:
            assert error is not None
            self.ended[error.data["ask"]] = "failed"  # type: ignore[attr-defined]

    @precondition(lambda self: any(session.under_way for session in self.live.values()))
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        session = data.draw(st.sampled_from([session for session in self.live.values() if session.under_way]))
        ticket = data.draw(st.sampled_from(session.under_way))
        assert self.ops.call("cancel", ticket=ticket)["state"] == "cancelled"
        session.under_way.remove(ticket)
        self.ended[ticket] = "cancelled"
        for first in session.under_way[:1]:
            eventually(lambda: self.ops.call("poll", ticket=first)["state"] == "running", "the next runs")

    # ------------------------------------------------------------ ending and going on

    @rule()
    def restart(self) -> None:
        self.house.restart()
        self.interrupted()

    @rule()
    def crash(self) -> None:
        """Another core goes on from what is on disk, as after a kill -9."""
        folder = self.folders / f"copy-{next(self.copies)}"
        shutil.copytree(self.house.folder, folder)
        self.house.end()
        self.live_in(folder)
        self.interrupted()

    def interrupted(self) -> None:
        for session in self.live.values():
            self.ended |= dict.fromkeys(session.under_way, "interrupted")
            session.under_way.clear()

    # ------------------------------------------------------------ what must hold

    @invariant()
    def both_tell_the_same(self) -> None:
        views = self.ops.call("list")
        expected = sorted(self.live.items(), key=lambda item: item[1].born)
        assert [(view["name"], view["model"], view["forked_from"], view["messages"]) for view in views] == [
            (name, session.model, session.parent, len(session.said)) for name, session in expected
        ]
        for view, (name, session) in zip(views, expected, strict=True):
            messages = self.ops.call("history", session=name)["messages"]
            assert [(message["role"], message["content"]) for message in messages] == session.said
            assert view["head"] == (messages[-1]["id"] if messages else None)
            assert [message["number"] for message in messages] == list(range(1, len(messages) + 1))
            assert (view["state"], view["queued"]) == (
                "busy" if session.under_way else "idle",
                max(0, len(session.under_way) - 1),
            )

    @invariant()
    def every_ask_is_where_it_ended(self) -> None:
        latest = list(self.ended.items())[-10:]
        assert {ticket: self.ops.call("poll", ticket=ticket)["state"] for ticket, _ in latest} == dict(latest)
        status = self.ops.call("status")
        running = sum(bool(session.under_way) for session in self.live.values())
        assert (status["sessions"], status["running"]) == (len(self.live), running)


TestSessions = Sessions.TestCase
TestSessions.settings = settings(
    max_examples=HUNT or 50,
    stateful_step_count=30,
    deadline=None,
    derandomize=not HUNT,
    database=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
