"""What tests share: checkers of client-visible bytes, recorded traffic, and clients to send it with."""
