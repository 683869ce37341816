"""Exchanges and attempts again, by mitmproxy's replay."""
