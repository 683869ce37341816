"""HTTP: events in a body, codings, headers, paths."""
