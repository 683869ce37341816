"""What to decide. Pure: the clock and randomness are handed in. Knows wire, not mitmproxy."""
