"""One dialect's client on the other one's upstream."""
