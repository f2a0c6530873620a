"""The reader: what it answers, what it does not, and how it tells it. Its documents are the ones in this file."""

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import ValidationError

from samovard.backends import reader
from samovard.backends.reader import DOES_NOT_KNOW, ReaderBackend, ReaderSettings
from samovard.backends.retrieval import reading
from samovard.backends.retrieval.reading import Reading
from samovard.model.backend import Finished, Request, TextDelta
from samovard.model.message import Message, Role, say

HANDBOOK = """
# Teahouse handbook

The teahouse opens at 9 in the morning. It closes when the last guest has left.

## Brewing

**Water.** Soft water, just below 95 degrees. Hard water makes the tea dull, e.g. in Prague or London.

| tea | grams per litre | minutes |
|---|---|---|
| Assam | 12 | 4 |
| Sencha | 10 | 2 |
| Pu-erh | 14 | 6 |

The samovar is descaled every Monday with citric acid.

## Payment

We accept:

- coins
- cards
- `tea_points`, the currency of regulars

To refund a guest, run:

```sh
till refund --guest NAME
```

How are tips shared? They are split evenly among everybody on the shift.

## Cats

Three cats live in the teahouse, and guests may not feed them.
"""

STAFF = "# Staff\n\nAda runs the kitchen.\nBohumil is the night porter; he keeps the keys of the cellar.\n"


class Conversation:
    """A session with the reader, without the daemon around it."""

    def __init__(self, backend: ReaderBackend | None = None, **settings: Any) -> None:
        self.backend = backend or ReaderBackend()
        self.settings = ReaderSettings.model_validate(settings)
        self.head: Message | None = None
        self.deltas: list[str] = []

    def fork(self) -> "Conversation":
        """Another session from here on."""
        other = Conversation(self.backend)
        other.settings, other.head = self.settings, self.head
        return other

    def hear(self, role: Role, content: str) -> "Conversation":
        """One more message of history."""
        self.head = say(role, content, self.head, 0.0)
        return self

    async def ask_async(self, prompt: str) -> str:
        message = say("user", prompt, self.head, 0.0)
        events = [event async for event in self.backend.stream(Request("bm25", message, self.settings))]
        self.deltas = [event.text for event in events if isinstance(event, TextDelta)]
        assert isinstance(events[-1], Finished)
        self.finished = events[-1]
        self.head = say("assistant", "".join(self.deltas), message, 0.0)
        return self.head.content

    def ask(self, prompt: str) -> str:
        return asyncio.run(self.ask_async(prompt))


def document(name: str, text: str) -> str:
    return f'<document name="{name}">\n{text}\n</document>'


def reply_of(session: str, text: str) -> str:
    return f'<reply session="{session}">\n{text}\n</reply>'


@pytest.fixture
def handbook() -> Conversation:
    """A session that has read the handbook."""
    conversation = Conversation()
    conversation.ask(document("handbook.md", HANDBOOK))
    return conversation


# ---------------------------------------------------------------- answers


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("When does the teahouse open?", "The teahouse opens at 9 in the morning."),
        ("How hot should the water be?", "Water. Soft water, just below 95 degrees."),
        ("How long does Sencha brew?", "Sencha: grams per litre 10; minutes 2"),
        ("When is the samovar descaled?", "The samovar is descaled every Monday with citric acid."),
        ("What do you accept?", "We accept: coins; cards; `tea_points`, the currency of regulars."),
        ("How do I refund a guest?", "To refund a guest, run:\ntill refund --guest NAME"),
        ("How are tips shared?", "They are split evenly among everybody on the shift."),
        ("What about dull tea?", "Hard water makes the tea dull, e.g. in Prague or London."),
        ("May guests feed the cats?", "Three cats live in the teahouse, and guests may not feed them."),
    ],
)
def test_the_best_sentence_answers_the_question(handbook: Conversation, question: str, answer: str) -> None:
    handbook.settings = ReaderSettings(sentences=1)
    told = handbook.ask(question)
    # A sentence that leans on the one before is told with it.
    assert told.startswith(answer)
    assert told.removeprefix(answer) in ("", " It closes when the last guest has left.")


@pytest.mark.parametrize("question", ["Who descales the samovars?", "descaling a samovar", "SAMOVAR, descaled"])
def test_a_word_is_found_in_its_other_forms(handbook: Conversation, question: str) -> None:
    assert "citric acid" in handbook.ask(question)


@pytest.mark.parametrize("question", ["what is tea_points?", "points?", "What is the currency?"])
def test_an_identifier_is_found_whole_and_by_its_parts(handbook: Conversation, question: str) -> None:
    assert "`tea_points`, the currency of regulars" in handbook.ask(question)


def test_a_question_that_is_a_heading_is_answered_by_what_stands_first_under_it() -> None:
    text = (
        "# Ops\n\n## kill\n\nEnds sessions.\n\nIt is not undone.\n\n## list\n\nWhoever may kill may list. Kill is shut."
    )
    conversation = Conversation(sentences=1).hear("user", document("ops.md", text))
    assert conversation.ask("What does kill do?") == "Ends sessions."


def test_no_more_sentences_are_told_than_the_setting_says() -> None:
    for sentences in (1, 2, 4):
        conversation = Conversation(sentences=sentences)
        conversation.hear("system", "\n\n".join(f"Tea number {n} is green." for n in range(9)))
        assert len(conversation.ask("Which tea is green?").splitlines()) == sentences


def test_sentences_are_told_in_the_order_of_the_context() -> None:
    conversation = Conversation().hear("system", "The large pot is for tea. Tea comes first.")
    conversation.settings = ReaderSettings(sentences=1)
    assert conversation.fork().ask("tea?") == "Tea comes first."
    conversation.settings = ReaderSettings(sentences=2)
    assert conversation.fork().ask("tea?") == "The large pot is for tea.\nTea comes first."


def test_a_sentence_far_below_the_best_is_left_out(handbook: Conversation) -> None:
    assert (
        handbook.ask("What is the samovar descaled with?") == "The samovar is descaled every Monday with citric acid."
    )


def test_a_sentence_that_was_said_twice_is_told_once() -> None:
    conversation = Conversation().hear("system", "The tea is hot.\n\n- The tea is **hot**\n\nThe   tea is hot!")
    assert conversation.ask("Is the tea hot?") == "The tea is hot."


def test_markup_is_not_told() -> None:
    text = "> * See [the _whole_ list](https://tea.example/a_(b)) of **green** teas &amp; cakes <br/>"
    assert Conversation().hear("system", text).ask("green teas?") == "See the whole list of green teas & cakes"


def test_code_in_a_line_is_told_as_it_stands() -> None:
    text = "Call `pour(cup, *args). Now` twice for **green** tea."
    assert Conversation().hear("system", text).ask("green tea?") == "Call `pour(cup, *args). Now` twice for green tea."


def test_the_system_prompt_earlier_prompts_and_replies_are_context() -> None:
    conversation = Conversation().hear("system", "The porter is Bohumil.").hear("user", "The cook is Ada.")
    conversation.hear("assistant", "The owner is Cyril.")
    answers = [conversation.ask(f"Who is the {who}?") for who in ("porter", "cook", "owner")]
    assert answers == ["The porter is Bohumil.", "The cook is Ada.", "The owner is Cyril."]


def test_a_language_without_spaces_is_searched_too() -> None:
    conversation = Conversation().hear("system", "茶は熱いです。牛乳は冷たいです。")
    assert conversation.ask("牛乳は何ですか\uff1f") == "牛乳は冷たいです。"


# ---------------------------------------------------------------- what never answers


@pytest.mark.parametrize("prompt", ["What is a fork?", "hello", "The tea is hot.", "?", "你好吗\uff1f"])
def test_a_fresh_session_does_not_know(prompt: str) -> None:
    assert Conversation().ask(prompt) == DOES_NOT_KNOW


@pytest.mark.parametrize("question", ["What is the capital of Peru?", "Who are you and what can you do?"])
def test_a_question_that_shares_no_word_with_the_context_is_not_answered(handbook: Conversation, question: str) -> None:
    assert handbook.ask(question) == DOES_NOT_KNOW


def test_what_was_asked_before_is_no_answer(handbook: Conversation) -> None:
    for question in ("Is there a parrot?", "tell me about the parrot", "what parrot", "Parrot?", "Is there a parrot?"):
        assert handbook.ask(question) == DOES_NOT_KNOW


def test_a_prompt_does_not_answer_itself_when_it_comes_again(handbook: Conversation) -> None:
    assert [handbook.ask("golden parrots") for _ in range(2)] == [DOES_NOT_KNOW, DOES_NOT_KNOW]


def test_a_word_of_the_question_alone_is_no_answer() -> None:
    assert Conversation().hear("system", "- `parrot`\n\nText.\n\nA parrot talks.").ask("parrot?") == "A parrot talks."


def test_the_readers_own_account_of_itself_is_no_answer(handbook: Conversation) -> None:
    handbook.ask("parrots")
    assert handbook.ask("What do I know, what have I read, and of which session? How many sentences?") == DOES_NOT_KNOW


def test_a_question_in_a_document_is_no_answer_and_leads_to_the_one_below_it() -> None:
    conversation = Conversation(sentences=1).hear(
        "user", document("faq.md", "**Is there sugar?**\n\nYes, white and brown.")
    )
    assert conversation.ask("Is there sugar?") == "Yes, white and brown."


# ---------------------------------------------------------------- documents


def test_a_prompt_of_documents_is_acknowledged() -> None:
    prompt = document("README.md", "Tea is hot. Milk is not.") + "\n" + document("docs/ops.md", "- ask\n- fork it")
    assert Conversation().ask(prompt) == "I have read 2 documents, README.md and docs/ops.md: 4 sentences."


@pytest.mark.parametrize("note", ["Read these and wait for questions.", "Please remember this", "Now study it!"])
def test_an_instruction_to_read_is_acknowledged(note: str) -> None:
    prompt = f"{document('a.md', 'Tea is hot.')}\n\n{note}"
    assert Conversation().ask(prompt) == "I have read 1 document, a.md: 1 sentence."


def test_of_many_documents_the_first_are_named() -> None:
    prompt = "\n".join(document(f"{number}.md", "Tea is hot.") for number in range(12))
    reply = "I have read 12 documents, 0.md, 1.md, 2.md, 3.md and 8 more: 12 sentences."
    assert Conversation().ask(prompt) == reply


def test_a_question_beside_documents_is_answered_from_them() -> None:
    prompt = f"{document('handbook.md', HANDBOOK)}\n{document('staff.md', STAFF)}\n\nWho has the keys?"
    assert Conversation().ask(prompt) == "Bohumil is the night porter; he keeps the keys of the cellar."


def test_a_document_is_found_by_its_name() -> None:
    conversation = Conversation(sentences=1)
    conversation.ask(document("porter.md", "Keys are kept here.") + "\n" + document("cook.md", "Keys are kept there."))
    assert conversation.ask("What does cook.md say of keys?") == "Keys are kept there."


def test_a_document_that_shows_document_tags_stays_whole() -> None:
    inner = f"Send files so:\n\n{document('inner.md', 'Inner tea is hot.')}\n\nOuter tea is cold."
    assert Conversation().ask(document("outer.md", inner)).startswith("I have read 1 document, outer.md:")


@pytest.mark.parametrize("text", ['<document name="a.md">\nTea is hot.', "Tea is hot.\n</document>"])
def test_a_tag_without_its_other_half_is_part_of_the_text(text: str) -> None:
    assert Conversation().hear("user", text).ask("How is the tea?").startswith("Tea is hot.")


def test_source_code_is_told_by_the_piece() -> None:
    source = '"""The pot."""\n\n\ndef pour(cups):\n    """Fills the cups, the left one first."""\n    return cups\n'
    prompt = document("pot.py", source) + "\nWhat does pour do?"
    assert Conversation(sentences=1).ask(prompt).startswith('def pour(cups):\n    """Fills the cups,')


def test_a_long_text_without_tags_is_read_like_a_document() -> None:
    text = "\n\n".join(f"Shelf {number} holds tea." for number in range(100)) + "\n\nShelf 100 holds sugar."
    conversation = Conversation()
    assert conversation.ask(text) == "I have read 1 document, the text: 101 sentences."
    assert conversation.ask("Where is the sugar?") == "Shelf 100 holds sugar."
    assert Conversation().ask(text + "\n\nWhere is the sugar?") == "Shelf 100 holds sugar."


def test_what_is_to_be_remembered_is_noted_and_told_later() -> None:
    conversation = Conversation()
    assert conversation.ask("Remember: the door code is 4711.") == "I have noted 1 sentence."
    assert "4711" in conversation.ask("What is the door code?")


def test_a_question_may_bring_its_own_answer() -> None:
    assert Conversation().ask("My name is Ada. What is my name?") == "My name is Ada."


# ---------------------------------------------------------------- relays


@pytest.mark.parametrize("note", ["", "Merge what you hear.\n\n"])
def test_a_relayed_reply_is_acknowledged_with_what_it_says(note: str) -> None:
    prompt = note + reply_of("w1", "The build is green. All tests passed.")
    assert Conversation().ask(prompt) == "w1 says: The build is green. All tests passed."


def test_of_a_long_relayed_reply_the_beginning_is_told() -> None:
    prompt = reply_of("w1", "One is red. Two is blue. Three is green. Four is white.")
    assert Conversation(sentences=2).ask(prompt) == "w1 says: One is red. Two is blue. …"


def test_a_relayed_reply_with_a_question_is_answered_from_all_that_was_heard() -> None:
    conversation = Conversation().hear("user", reply_of("w1", "The linux build is green."))
    prompt = f"How are the builds?\n\n{reply_of('w2', 'The macos build is red.')}"
    assert conversation.ask(prompt) == "The linux build is green.\nThe macos build is red."


def test_a_relayed_reply_is_found_by_its_session() -> None:
    conversation = Conversation(sentences=1)
    conversation.ask(reply_of("w1", "The build is green."))
    conversation.ask(reply_of("w2", "The build is red."))
    assert conversation.ask("What did w2 say of the build?") == "The build is red."


def test_a_relayed_do_not_know_is_no_answer() -> None:
    conversation = Conversation()
    assert conversation.ask(reply_of("w1", DOES_NOT_KNOW)) == f"w1 says: {DOES_NOT_KNOW}"
    assert conversation.ask("What answers are in this session?") == DOES_NOT_KNOW


# ---------------------------------------------------------------- tokens, pace, settings


def test_the_reply_comes_word_by_word(handbook: Conversation) -> None:
    reply = handbook.ask("When does the teahouse open?")
    assert [delta.strip() for delta in handbook.deltas] == reply.split()
    assert "".join(handbook.deltas) == reply


def test_usage_counts_the_words_of_the_whole_context_and_of_the_reply() -> None:
    conversation = Conversation().hear("system", "The tea is hot.").hear("user", "a b").hear("assistant", "c d e")
    conversation.ask("Is the tea hot?")
    assert (conversation.finished.usage.input, conversation.finished.usage.output) == (4 + 2 + 3 + 4, 4)


@pytest.mark.parametrize(("limit", "reason"), [(1, "max_tokens"), (3, "max_tokens"), (4, "end"), (99, "end")])
def test_max_tokens_ends_the_reply(limit: int, reason: str) -> None:
    conversation = Conversation(max_tokens=limit).hear("system", "The tea is hot.")
    assert conversation.ask("Is the tea hot?").split() == ["The", "tea", "is", "hot."][:limit]
    assert conversation.finished.stop_reason == reason


def test_temperature_changes_nothing(handbook: Conversation) -> None:
    replies = set()
    for temperature in (0.0, 2.0):
        handbook.settings = ReaderSettings(temperature=temperature)
        replies.add(handbook.fork().ask("When does the teahouse open?"))
    assert len(replies) == 1


def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What is slept from now on, without the wait."""
    real, found = asyncio.sleep, list[float]()

    async def sleep(delay: float) -> None:
        found.append(delay)
        await real(0)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    return found


def test_words_per_s_sets_the_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    conversation = Conversation(words_per_s=4).hear("system", "The tea is hot.")
    waits = slept(monkeypatch)
    conversation.ask("Is the tea hot?")
    assert [wait for wait in waits if wait] == [0.25, 0.25, 0.25]


def test_without_a_pace_the_loop_has_a_turn_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    conversation = Conversation().hear("system", "- Tea " + "word " * 55)
    waits = slept(monkeypatch)
    assert len(conversation.ask("tea").split()) == 56
    messages_to_read, turns_in_the_reply = 2, 2
    assert waits == [0] * (messages_to_read + turns_in_the_reply)


@pytest.mark.parametrize(
    "wrong",
    [
        {"sentences": 0},
        {"sentences": 21},
        {"sentences": "3"},
        {"words_per_s": -1},
        {"words_per_s": float("inf")},
        {"max_tokens": 0},
        {"pace": 3},
    ],
)
def test_a_wrong_setting_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ReaderSettings.model_validate(wrong)


def test_there_is_one_model() -> None:
    backend = ReaderBackend()
    (spec,) = backend.models()
    assert (spec.id, spec.context_window) == ("bm25", None)
    assert backend.find("bm25") == spec
    assert backend.find("bm26") is None


# ---------------------------------------------------------------- what is read once, and where


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The contents that are read, in turn."""
    found: list[str] = []

    def read(role: Role, content: str, *stopped: Any) -> Reading:
        found.append(content)
        return real(role, content, *stopped)

    real = reading.read
    monkeypatch.setattr(reader, "read", read)
    yield found


LONG = document("long.md", "\n\n".join(f"Shelf {number} holds tea." for number in range(1000)))


def test_a_message_is_read_once_however_many_sessions_share_it(reads: list[str]) -> None:
    conversation = Conversation().hear("user", LONG).hear("assistant", "Aha.")
    for number in (17, 18):
        conversation.fork().ask(f"What is on shelf {number}?")
    assert reads.count(LONG) == 1


def test_a_prompt_that_is_broadcast_is_read_once(reads: list[str]) -> None:
    backend = ReaderBackend()

    async def broadcast() -> None:
        sessions = [Conversation(backend).hear("system", f"You are number {number}.") for number in range(20)]
        await asyncio.gather(*(session.ask_async(LONG) for session in sessions))

    asyncio.run(broadcast())
    assert reads.count(LONG) == 1


def test_the_readings_kept_are_bounded_and_the_latest_used_stay(
    reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "KEPT", 3 * (10 + reader.OVERHEAD))
    backend = ReaderBackend()

    async def read_all(texts: str) -> list[str]:
        reads.clear()
        for text in texts:
            await backend._readings.of(say("user", text * 10, None, 0.0))
        return [content[0] for content in reads]

    assert asyncio.run(read_all("abcabc")) == ["a", "b", "c"]
    assert asyncio.run(read_all("ad")) == ["d"]
    assert asyncio.run(read_all("acdb")) == ["b"]


def test_a_text_over_the_bound_is_still_answered_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "KEPT", 10)
    conversation = Conversation().hear("user", LONG)
    assert conversation.ask("What is on shelf 17?").startswith("Shelf 17 holds tea.")


def test_close_forgets_what_was_read(reads: list[str]) -> None:
    conversation = Conversation().hear("user", LONG)
    conversation.ask("What is on shelf 17?")
    asyncio.run(conversation.backend.close())
    conversation.ask("What is on shelf 18?")
    assert reads.count(LONG) == 2


def test_a_long_text_is_read_and_searched_off_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: dict[str, set[str]] = {"read": set(), "answer": set()}

    def noting(name: str) -> Any:
        real = getattr(reader, name)

        def noted(*args: Any) -> Any:
            threads[name].add("loop" if threading.current_thread() is threading.main_thread() else "thread")
            return real(*args)

        return noted

    for name in ("read", "answer"):
        monkeypatch.setattr(reader, name, noting(name))
    monkeypatch.setattr(reader, "SHORT_SEARCH", 500)
    conversation = Conversation().hear("user", LONG)
    conversation.ask("Which shelf holds tea?")
    assert threads == {"read": {"loop", "thread"}, "answer": {"thread"}}  # the question itself is short
    conversation.ask("What is on the 17?")
    assert threads["answer"] == {"loop", "thread"}


def test_a_cancelled_reading_ends_at_once_and_stops_its_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    ends: list[str] = []

    async def cancel_while_reading() -> None:
        loop, begun = asyncio.get_running_loop(), asyncio.Event()

        def read(role: Role, content: str, stopped: Any) -> Reading:
            loop.call_soon_threadsafe(begun.set)
            while not stopped():
                threading.Event().wait(0.001)
            ends.append("thread")
            raise AssertionError("what a stopped reading gives is of no use")

        monkeypatch.setattr(reader, "read", read)
        task = asyncio.create_task(Conversation().ask_async(LONG))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        ends.append("task")

    asyncio.run(cancel_while_reading())
    assert sorted(ends) == ["task", "thread"]


def test_after_a_cancelled_reading_the_next_one_reads_anew() -> None:
    conversation = Conversation().hear("user", LONG)

    async def ask_twice() -> str:
        task = asyncio.create_task(conversation.fork().ask_async("What is on shelf 17?"))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return await conversation.ask_async("What is on shelf 18?")

    assert asyncio.run(ask_twice()).startswith("Shelf 18 holds tea.")
