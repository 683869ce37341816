"""Credentials: where they come from, how they are put on at the wire, and what keeps them out of all else."""
