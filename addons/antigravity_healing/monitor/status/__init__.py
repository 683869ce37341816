"""How the proxy is now, and what is wrong for a while."""
