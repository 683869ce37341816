"""What is said: the log file, the terminal, the flow list."""
