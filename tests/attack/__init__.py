"""Attacks on a running proxy: each fails, and what is honest and looks like it works."""
