"""Repairs: what makes a request acceptable that upstream refused for the signatures in its history."""
