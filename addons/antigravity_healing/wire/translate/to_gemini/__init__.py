"""For a Gemini end: Anthropic requests and answers in Gemini's words."""
