"""What OpenTelemetry gets, where it is set up: a span for each exchange, and one for each of its attempts."""
