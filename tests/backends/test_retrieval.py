"""What the reader makes of a text: sentences, units, terms, and scores. Texts of any kind, at any length."""

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from samovard.backends.retrieval.bm25 import Index, Unit, search
from samovard.backends.retrieval.inline import plain
from samovard.backends.retrieval.markdown import units
from samovard.backends.retrieval.prompts import Part, parse
from samovard.backends.retrieval.reading import read
from samovard.backends.retrieval.sentences import sentences, split
from samovard.backends.retrieval.terms import stem, terms


def told(text: str) -> list[str]:
    return [unit.text for unit in units(text)]


# ---------------------------------------------------------------- sentences


@pytest.mark.parametrize(
    "text",
    [
        "Use a cup, e.g. Meissen porcelain.",
        "It needs Python 3.11 or later.",
        "Mr. Novak and Dr. Ada Q. Smith came.",
        "Call `a.b. C` and `x. Y? Z` first.",
        "See fig. 3 vs. Table 2, and No. 4.",
        "the end. of a sentence begins with a capital",
        "3. Leave.",
        "Wait... what",
        "samovar.yaml has it.",
    ],
)
def test_a_full_stop_that_ends_no_sentence_does_not_split(text: str) -> None:
    assert split(text) == [text]


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("One. Two. Three.", 3),
        ("Is it? It is! Good.", 3),
        ('He said "no." Then he left.', 2),
        ("It runs (always.) Then it ends.", 2),
        ("Call `pour.` `drink` follows.", 1),
        ("Call it. `drink` follows.", 2),
        ("It is **done.** **So** rest.", 2),
        ("茶は熱い。牛乳は冷たい。", 2),
        ("So do I. We do.", 2),
        ("We said no. They came.", 2),
    ],
)
def test_a_sentence_ends_at_its_mark(text: str, count: int) -> None:
    assert len(split(text)) == count


def test_a_sentence_that_leans_on_the_one_before_is_told_with_it() -> None:
    assert sentences("Tea is hot. It burns. Milk is cold.") == ["Tea is hot. It burns.", "Milk is cold."]


def test_a_sentence_does_not_lean_on_a_question() -> None:
    assert sentences("What is tea? It is hot.") == ["What is tea?", "It is hot."]


# ---------------------------------------------------------------- units


def test_wrapped_lines_are_joined_and_lines_ended_on_purpose_are_not() -> None:
    wrapped = "The samovar, which stands in the middle of the table, keeps water for\nAda and Bohumil hot."
    assert told(wrapped) == [wrapped.replace("\n", " ")]
    assert told("Port is 80\nHost is ::1") == ["Port is 80", "Host is ::1"]


def test_a_heading_is_told_only_where_nothing_stands_under_it() -> None:
    assert told("# Tea\n\nTea is hot.\n\n## Milk\n\n## Sugar ##\n\nSetext\n---\n\nText.") == [
        "Tea is hot.",
        "Milk",
        "Sugar",
        "Text.",
    ]


def about(text: str, sentence: str) -> str:
    (found,) = [unit.about for unit in units(text, title="a.md") if unit.text == sentence]
    return found


def test_a_unit_is_about_the_headings_above_it() -> None:
    assert about("# Tea\n\n## Old\n\n# Milk\n\n### Cold\n\nDrink it.", "Drink it.") == "a.md / Milk / Cold"


def test_a_unit_is_about_the_line_that_introduces_it() -> None:
    text = "Where is it?\n\nIn the cellar, behind the third barrel.\n\nKeep it dark."
    assert about(text, "In the cellar, behind the third barrel.") == "a.md / Where is it?"
    assert about(text, "Keep it dark.") == "a.md"


@pytest.mark.parametrize("introduction", ["We have:\n\n", "We have:\n", "# We have\n\n"])
def test_short_items_are_told_as_one_with_what_introduces_them(introduction: str) -> None:
    assert told(f"{introduction}- tea;\n* [x] milk,\n  - warm\n1. ice.\n") == ["We have: tea; milk; warm; ice."]


def test_longer_items_are_told_each_for_itself() -> None:
    items = [f"Item {number}: " + "tea " * 30 + "time." for number in range(3)]
    text = "There are these:\n\n" + "\n\n".join(f"- {item.replace('tea', 'tea', 1)}\n  and on" for item in items)
    assert told(text) == ["There are these:", *(f"{item} and on" for item in items)]


def test_a_table_row_is_told_with_the_names_of_its_columns() -> None:
    text = "| tea | cups | min |\n|:--|--:|---|\n| `a|b` | 1 | |\n| b \\| c | 2 | 3 |\n\nEnd."
    assert told(text.replace("`a|b`", "a")) == ["a: cups 1", "b | c: cups 2; min 3", "End."]


def test_two_columns_are_told_as_a_word_and_what_it_means() -> None:
    assert told("word | meaning\n---|---\nfork | a new session") == ["fork: a new session"]


def test_short_code_is_told_with_the_line_before_it() -> None:
    assert told("Run:\n\n```sh\n  pour --all\n  drink\n```\n\nDone.") == ["Run:\npour --all\ndrink", "Done."]
    assert told("Run:\n\n    pour --all\n\nDone.") == ["Run:\npour --all", "Done."]


def test_of_longer_code_each_line_is_told_with_those_that_it_opens() -> None:
    lines = ["def pour(", "    cup,", "):", "    fill(cup)", *(f"step {number}" for number in range(9))]
    found = told("```\n" + "\n".join(lines) + "\n```")
    assert found[:3] == ["def pour(\n    cup,\n):\n    fill(cup)", "step 0", "step 1"]


def test_contents_comments_rules_and_link_definitions_are_not_told() -> None:
    text = "- [Tea](#tea)\n- [Milk](#milk)\n\n<!-- secret\n\nsecret -->\n***\n[x]: https://tea.example\n\nTea."
    assert told(text) == ["Tea."]


@pytest.mark.parametrize(
    ("marked", "text"),
    [
        ("**bold** *slanted* __bold__ _slanted_", "bold slanted bold slanted"),
        ("snake_case_name and 2 * 3 * 4", "snake_case_name and 2 * 3 * 4"),
        ("`**kept** <b>`", "`**kept** <b>`"),
        ("[text](https://a.example) ![image](b.png) [ref][1]", "text image ref"),
        ("<b>tea</b> <NAME> &lt;x&gt;", "tea <NAME> <x>"),
        (r"\*not slanted\*", "*not slanted*"),
    ],
)
def test_marks_go_and_words_stay(marked: str, text: str) -> None:
    assert plain(marked) == text


# ---------------------------------------------------------------- prompts


def test_a_part_ends_at_its_own_tag() -> None:
    inner = '<document name="b">\nB\n</document>'
    text = f'<document name="a">\n{inner}\n</document>\nAsk.\n<reply session="w">\nR\n</reply>'
    assert parse(text) == ([Part("document", "a", inner), Part("reply", "w", "R")], "Ask.")


def test_where_tags_do_not_add_up_a_part_ends_at_the_first_end() -> None:
    text = '<document name="a">\n<document name="b">\nB\n</document>\nAsk.'
    assert parse(text) == ([Part("document", "a", '<document name="b">\nB')], "Ask.")


def test_a_tag_within_a_line_is_text() -> None:
    text = 'Say <document name="a"> or </document> here.'
    assert parse(text) == ([], text)


# ---------------------------------------------------------------- terms and scores


@pytest.mark.parametrize(
    "family",
    [
        "fork forks forked forking",
        "query queries queried querying",
        "cancel cancels cancelled cancelling cancellation",
        "cache caches cached caching",
        "run runs running",
        "store stores stored storing",
        "install installed installation installations",
        "configure configured configuration",
        "migrate migrated migration",
        "box boxes boxed",
        "class classes",
        "kill killed kills killing",
    ],
)
def test_the_forms_of_a_word_have_one_stem(family: str) -> None:
    assert len({stem(word) for word in family.split()}) == 1


@pytest.mark.parametrize("words", ["need ned", "string str", "status stat", "bring br", "speed sp", "thing th"])
def test_words_that_only_look_inflected_keep_their_ends(words: str) -> None:
    one, other = words.split()
    assert stem(one) != stem(other)


@pytest.mark.parametrize(
    ("identifier", "part"),
    [
        ("prompt_tokens.cached", "token"),
        ("ask-async", "async"),
        ("docs/ops.md", "ops"),
        ("BackendError", "error"),
        ("HTTPServer", "server"),
        ("--max-tokens", "max-tokens"),
    ],
)
def test_an_identifier_has_its_parts_for_terms(identifier: str, part: str) -> None:
    assert stem(part) in terms(identifier)


@pytest.mark.parametrize("word", ["3.11", "naïve", "Žižkov", "чайник"])
def test_a_number_or_a_word_of_any_alphabet_is_one_term(word: str) -> None:
    assert len(terms(word)) == 1


def test_words_that_are_shared_by_chance_are_no_terms() -> None:
    assert terms("What's the one that you'd have, and how? It isn\u2019t mine.") == {"min"}


def test_a_rarer_term_weighs_more() -> None:
    index = Index([Unit("tea pot"), Unit("tea cup"), Unit("tea spoon"), Unit("coffee pot")])
    assert [hit.unit for hit in search([index], terms("tea coffee"), 9)] == [3, 0, 1, 2]


def test_a_longer_unit_counts_less_and_one_shorter_than_the_mean_no_more() -> None:
    index = Index([Unit("tea " + "and milk " * 9), Unit("tea pot and cup"), Unit("tea")])
    first, second, third = search([index], terms("tea"), 9)
    assert (first.unit, second.unit, third.unit) == (1, 2, 0)
    assert first.score == second.score > third.score


def test_a_term_counts_less_where_a_unit_only_stands_under_it() -> None:
    index = Index([Unit("pour", "tea"), Unit("tea"), Unit("milk")])
    assert [hit.unit for hit in search([index], terms("tea"), 9)] == [1, 0]


def test_scores_do_not_depend_on_how_units_are_divided_among_messages() -> None:
    found = [Unit(text) for text in ("tea pot", "tea tea cup", "milk", "a long line of tea and milk and sugar")]
    one = search([Index(found)], terms("tea milk"), 9)
    many = search([Index([unit]) for unit in found], terms("tea milk"), 9)
    assert [(hit.score, hit.unit) for hit in one] == [(hit.score, hit.place) for hit in many]


def test_nothing_is_found_in_nothing() -> None:
    assert search([], terms("tea"), 9) == search([Index([])], terms("tea"), 9) == []


# ---------------------------------------------------------------- any text


def pieces(text: str) -> list[str]:
    """What `@` parts; `~` is a new line."""
    return text.replace("~", "\n").split("@")


MARKS = st.sampled_from(
    pieces(
        "a@ @Tea@`@```~@**@_@# @- @1. @:@?@. @! @(@](@<!--@-->@    @~@~~@It @===~@---~@remember @|@|--|~@<b>@"
        "\\@\t@\r@\0@\u2028@\ud800@\u3002@"
        '<document name="a.md">~@<document name="a.py">~@</document>~@<reply session="w">~@</reply>~'
    )
)
"""What Markdown and prompts are made of."""


@given(st.lists(MARKS, max_size=60).map("".join) | st.text(max_size=200), st.sampled_from(["user", "assistant"]))
def test_any_text_can_be_read(text: str, role: str) -> None:
    reading = read("user" if role == "user" else "assistant", text)
    assert reading.words == len(text.split())
    for index in (reading.quoted, reading.stated):
        assert all(unit.text.strip() for unit in index.units)


HOSTILE = pieces(
    "<!-- @`@` a@.@... @**a @[a](@<a @#   @- @  - a:~@>@```~@a.b-@aB@w~@~    a(~@a:~~@\\@| @"
    '<document name="a">~@<document name="a">~<document name="a">~</document>~'
)


@pytest.mark.timeout(30)
@pytest.mark.parametrize("pattern", HOSTILE)
def test_no_text_takes_more_than_time_in_proportion(pattern: str) -> None:
    """A second at most each; what grew with the square of the length would take minutes."""
    text = pattern * (400_000 // len(pattern))
    assert read("user", text).words == len(text.split())
    assert read("assistant", text).words == len(text.split())


def test_a_reading_that_was_stopped_reads_no_further() -> None:
    stopped = threading.Event()
    text = "\n\n".join(f"Shelf {number}." for number in range(100))

    def stop_at_the_tenth() -> bool:
        asked.append(1)
        return len(asked) > 10

    asked: list[int] = []
    assert len(read("assistant", text, stop_at_the_tenth).stated.units) == 10
    assert len(read("assistant", text, stopped.is_set).stated.units) == 100
