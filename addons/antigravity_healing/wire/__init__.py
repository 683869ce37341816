"""What the protocols say: pure functions and push objects over bytes. No policy, no mitmproxy, no clock."""
