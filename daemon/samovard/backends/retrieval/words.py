"""English: the only module that knows the language, as lists of words. Texts in another one are read without them."""
# ruff: noqa: SIM905 - as a list, each of these is a page long.

from __future__ import annotations

STOP_WORDS = frozenset(
    """
    a about above after again all also am an and any are aren't as at be been before being below between both
    but by can can't cannot could couldn't did didn't do does doesn't doing don't down during e.g each either
    else etc ever every exactly explain few for from further get gets give given gives had has hasn't have
    haven't having he hello her here hers hi him his how i i.e if in into is isn't it its itself just know let
    like many may me mean means might more most much must my neither no nor not now of off on once one only or
    other our ours out over own please really same say says shall she should so some such tell than thank thanks
    that the their theirs them then there these they this those through to too under until up upon us very was
    wasn't way we were weren't what when where whether which while who whom whose why will with within without
    won't would wouldn't yes yet you your yours
    """.split()
)
"""What a question and a sentence share by chance."""

ABBREVIATIONS = frozenset("al approx ca cf dr e.g ed eds eg i.e ie incl mr mrs ms prof resp sr st vs".split())
"""What a full stop follows that ends no sentence."""

NUMBERED = frozenset("ch fig figs no nos p pp sec vol".split())
"""The same, where a number comes after."""

LEANING = frozenset(
    "both he her his instead it its itself neither otherwise she such that their them these they this those".split()
)
"""First words by which a sentence leans on the one before it."""

REQUESTS = frozenset(
    """
    answer can compare could describe explain find give how list name please print read repeat say show study
    summarise summarize tell translate what which who whom whose why would write
    """.split()
)
"""First words of what is asked of the reader, and states nothing."""

READ = frozenset("attached here keep learn load memorise memorize note read remember see study take these this".split())
"""First words of a prompt that brings something to be read."""

NOTE = frozenset("keep memorise memorize note remember".split())
"""First words of a prompt that is itself what is to be kept."""

BEFORE_A_VERB = frozenset("also and first just now ok okay please so then".split())
"""What may stand before those."""
