"""Who may come in, where connections may go, and how who may not is refused."""
