"""The daemon's only two doors: `socket` for ops, `kernel` for code."""
