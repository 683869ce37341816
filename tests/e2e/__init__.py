"""Whole runs: a real mitmdump with the addon between real clients and the faulty upstream."""
