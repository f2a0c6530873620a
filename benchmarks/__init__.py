"""Every figure of the README, measured here and now: `invoke bench`, or `python -m benchmarks [NAME]`.

A module is a group of figures; its docstring says what is measured, against what, and why that is fair. What ours is
compared with runs in the same minutes on the same machine, turn by turn, so that a busy neighbour slows both.
"""
