"""The content view `LLM exchange`: what became of an exchange, and what was said in it, read from the top."""
