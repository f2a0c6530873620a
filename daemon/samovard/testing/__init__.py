"""Shipped for others' tests: a backend that does as it is told, and the suite that every backend passes."""
