"""The configuration: its schema, its file, and where secrets come from."""
