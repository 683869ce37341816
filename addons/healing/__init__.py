"""The healing proxy: peek, retry, account rotation and model mapping for LLM API streams."""

APP_NAME = "antigravity"
"""What the platform's folders for configuration and data are called."""
