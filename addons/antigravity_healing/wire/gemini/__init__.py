"""The Gemini API and its Vertex form."""
