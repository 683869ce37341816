"""mitmproxy: the layer in which attempts run, the hooks, replay. Knows policy and wire."""
