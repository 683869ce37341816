"""Whose a request is, what it asks and who may serve it; and what there is of the proxy between requests."""
