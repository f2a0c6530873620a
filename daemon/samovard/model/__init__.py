"""Frozen types, ids, state tables and errors. Imports nothing of ours, so every other room may import it."""
