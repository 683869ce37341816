"""The healing proxy: peek, retry, account rotation and model mapping for LLM API streams."""
