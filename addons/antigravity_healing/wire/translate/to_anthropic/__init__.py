"""For an Anthropic end: Gemini requests and answers in Anthropic's words."""
