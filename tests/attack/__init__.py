"""Attacks through a running proxy: each fails, and its honest neighbour still works."""
