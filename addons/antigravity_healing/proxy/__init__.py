"""The part inside mitmproxy, which knows policy and wire.

A room knows only those before it: internals, secrets, guarding, then connections and claiming, streams, replaying. The
addon stands above them all.
"""
