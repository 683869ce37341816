"""One client's request inside mitmproxy: its stream, the streams of its attempts, and the layer that they run in."""
