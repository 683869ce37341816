"""Sockets, HTTP/1 and HTTP/2, with clients and upstreams: bounded, and closed when nobody needs them."""
