"""Checkers of what a client received, written without any of the project's own code.

They raise `AssertionError` with the reason. A checker that used the project's decoder would share its mistakes.
"""

from .anthropic import AnthropicReport, check_anthropic_error, check_anthropic_json, check_anthropic_stream
from .gemini import GeminiReport, check_gemini_error, check_gemini_json, check_gemini_stream

__all__ = [
    "AnthropicReport",
    "GeminiReport",
    "check_anthropic_error",
    "check_anthropic_json",
    "check_anthropic_stream",
    "check_gemini_error",
    "check_gemini_json",
    "check_gemini_stream",
]
