"""How much slower the healing proxy is than plain mitmproxy: `uv run python -m tests.bench`."""
