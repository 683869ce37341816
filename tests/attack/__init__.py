"""Attacks on a running proxy, each beside its honest neighbour."""
