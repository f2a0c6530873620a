"""Shipped for tests: a backend that fails and dawdles on demand, and the contract that every backend keeps."""
