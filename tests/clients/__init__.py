"""What real clients make of faults: agents and SDKs from npm and PyPI, direct and through the proxy, by hand."""
