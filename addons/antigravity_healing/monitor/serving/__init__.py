"""What is served on the proxy's own port."""
