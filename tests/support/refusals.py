"""The texts with which upstreams refuse a conversation's signatures, texts that only look like them, and wrappings."""

import json
from typing import Any

from antigravity_healing.wire.errors.signature_refusals import SignatureFault

BOUND = "messages.1.content.0: Invalid `signature` in `thinking` block. The block is bound to a different conversation."
FIRST_BLOCK = (
    "messages.3.content.0.type: Expected `thinking` or `redacted_thinking`, but found `{}`. When `thinking` is enabled,"
    " a final `assistant` message must start with a thinking block (preceeding the lastmost set of `tool_use` and"
    " `tool_result` blocks)."
)
LATEST = (
    "messages.1.content.0: `thinking` or `redacted_thinking` blocks in the latest assistant message cannot be modified."
    " These blocks must remain as they were in the original response."
)
FUNCTION_CALL = (
    "Function call is missing a thought_signature in functionCall parts. This is required for tools to work correctly,"
    " and missing thought_signature may lead to degraded model performance. Additional data, function call"
    " `default_api:read_file` , position 2. Please refer to https://ai.google.dev/gemini-api/docs/thought-signatures."
)
UNWANTED = "When thinking is disabled, an `assistant` message in the final position cannot contain `thinking`"
NOT_CREATED = (
    "messages.1.content.0: Invalid `signature` in `thinking` block: the block was not created in this conversation"
)
UNDECODABLE = (
    "Invalid value at 'contents[1].parts[0].thought_signature' (TYPE_BYTES), Base64 decoding failed for \"***\""
)
VERTEX = "Unable to submit: function call `read_file` in the 2. content block is missing a `thought_signature`."

SIGNATURES: list[tuple[SignatureFault, str]] = [
    (SignatureFault.PREFIX, BOUND),
    (
        SignatureFault.PREFIX,
        "messages.1.content.0: Invalid `signature` in `thinking` block: the block was not created in this conversation",
    ),
    (SignatureFault.BLOCK, "messages.1.content.0: Invalid `signature` in `thinking` block"),
    (SignatureFault.BLOCK, "messages.5.content.2: Invalid `data` in `redacted_thinking` block"),
    (SignatureFault.LOST, "messages.1.content.0.thinking.signature: Field required"),
    (SignatureFault.LOST, "signature: Field required"),
    (SignatureFault.LOST, "messages.1.content.0.signature: Field required"),
    (SignatureFault.BLOCK, "messages.1.content.0.thinking: each thinking block must contain thinking"),
    (SignatureFault.BLOCK, "messages.1.content.0.thinking.thinking: Field required"),
    (SignatureFault.BLOCK, "messages.1.content.0: Invalid ‘signature’ in “thinking” block"),
    (SignatureFault.LATEST, LATEST),
    (SignatureFault.UNOPENED, FIRST_BLOCK.format("tool_use").replace("`", "'")),
    (SignatureFault.UNOPENED, FIRST_BLOCK.format("text").replace("`", '\\"')),
    (SignatureFault.UNOPENED, FIRST_BLOCK.format("tool_use")),
    (SignatureFault.UNOPENED, FIRST_BLOCK.format("text")),
    (
        SignatureFault.UNWANTED,
        "When thinking is disabled, an `assistant` message in the final position cannot contain `thinking`",
    ),
    (SignatureFault.FINAL, "messages.1: The final block in an assistant message cannot be `thinking`."),
    (SignatureFault.CALL_UNSIGNED, FUNCTION_CALL),
    (SignatureFault.CALL_UNSIGNED, VERTEX),
    (SignatureFault.CALL_CORRUPTED, "Corrupted thought signature."),
    (SignatureFault.CALL_CORRUPTED, "Invalid thought signature."),
    (SignatureFault.CALL_CORRUPTED, "Thought signature is not valid"),
    (SignatureFault.CALL_CORRUPTED, "Thought signature is not valid."),
    (SignatureFault.CALL_CORRUPTED, "Invalid thought_signature in contents[3].parts[0]"),
    (SignatureFault.CALL_UNSIGNED, "The thoughtSignature is missing."),
    (
        SignatureFault.CALL_CORRUPTED,
        "Invalid value at 'contents[1].parts[0].thought_signature' (TYPE_BYTES), Base64 decoding failed for \"***\"",
    ),
]  # fmt: skip

LOOKALIKES = [
    "INVALID_ARGUMENT",
    "Request contains an invalid argument.",
    "invalid request",
    "Invalid request: thinking is not supported by this model",
    "Base64 decoding failed for \"***\" in inlineData",
    "Invalid value at 'contents[0].parts[1].inline_data.data' (TYPE_BYTES), Base64 decoding failed for \"***\"",
    "Invalid value at 'contents[1].parts[0].thought' (TYPE_BOOL), \"yes\"",
    'Invalid JSON payload received. Unknown name "thoughtSignature" at \'contents[1].parts[0]\': Cannot find field.',
    "The thought is missing.",
    "Missing or invalid thought",
    "Invalid signature",
    "The request signature we calculated does not match the signature you provided.",
    "Function signature is invalid: parameter `path` is missing a type",
    "messages.0.content.0.text: Field required",
    "thinking.budget_tokens: Field required",
    "`max_tokens` must be greater than `thinking.budget_tokens`.",
    "thinking.type: `enabled` is not supported by this model; use `adaptive`",
    "block_binding: Extra inputs are not permitted",
    "Unexpected value(s) `thinking-binding-controls-2026-08-01` for the `anthropic-beta` header.",
    "messages.1.content.0.thinking.signatures: Extra inputs are not permitted",
    "design_signature: Field required",
    "tools.0.input_schema.properties.signature: Field required",
    "tools.0.custom.input_schema.properties.thinking.signature: Field required",
    "messages.0.signature: Field required",
    "thinking: Field required",
    "Thought signatures are explained in the docs. Your quota is missing.",
    "API key not valid. Please pass a valid API key.",
    "messages: text content blocks must be non-empty",
]  # fmt: skip


def anthropic(message: str) -> dict[str, Any]:
    return {"type": "error", "error": {"type": "invalid_request_error", "message": message}, "request_id": "req_1"}


def google(message: str) -> dict[str, Any]:
    return {"error": {"code": 400, "message": message, "status": "INVALID_ARGUMENT"}}


def forms(message: str) -> list[Any]:
    """The message in the ways in which it reaches a client."""
    return [
        anthropic(message),
        google(message),
        [google(message)],
        google(json.dumps(anthropic(message))),
        google("upstream: " + json.dumps(google(json.dumps(anthropic(message))))),
        {"error": {"code": 429, "message": "Upstream failed", "upstream_error": anthropic(message)}},
        {"error": {"message": "Upstream failed", "upstream_error": json.dumps(anthropic(message))}},
        {"error": message},
    ]
