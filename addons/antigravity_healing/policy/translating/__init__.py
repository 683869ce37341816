"""A client of one dialect on an upstream of another."""
