"""The state machine of one client request: attempts, retries, clocks, and the client's answer."""
