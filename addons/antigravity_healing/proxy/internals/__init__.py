"""What is used of mitmproxy that is not public, one part a module."""
