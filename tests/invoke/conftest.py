"""The fixtures of these tests; `daemons` owns them."""

from daemons import place, places, shared

__all__ = ["place", "places", "shared"]
