"""What a person asks and does, by commands."""
