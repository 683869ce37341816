"""What the proxy serves of its own on its port: no flow is made of it, no hook is called, and no line is logged."""
