"""What Prometheus gets: counts of exchanges and attempts, and how the proxy is."""
