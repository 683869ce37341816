"""What upstreams say when they refuse."""
