"""How long the tests wait for what has to come."""

PATIENCE_S = 60.0
"""For a condition, an answer, the end of a process: of no concern to what works, even where much else is running."""
