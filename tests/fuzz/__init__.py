"""Coverage-guided fuzzing of what reads bytes that others chose, by hand: `python -m tests.fuzz --help`.

`inputs/TARGET` keeps what once failed, each as small as it got; the default run replays it.
"""
