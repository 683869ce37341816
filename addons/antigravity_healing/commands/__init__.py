"""The `antigravity` command, on top of everything: it starts the proxy, sets it up and looks at it."""
