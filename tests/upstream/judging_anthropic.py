"""How the Messages API looks at the thinking in a request's history."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .minting import Claims, Signer, claude_version, family_of, has_prefix_check, key_of

BETA = "thinking-binding-controls-2026-08-01"
INVALID = "Invalid `signature` in `thinking` block"
INVALID_DATA = "Invalid `data` in `redacted_thinking` block"
BOUND = f"{INVALID}. The block is bound to a different conversation. It must be sent in the conversation that made it."
LOST = "Field required"
CHANGED = (
    "`thinking` or `redacted_thinking` blocks in the latest assistant message cannot be modified. "
    "These blocks must remain as they were in the original response."
)
UNOPENED = (
    "Expected `thinking` or `redacted_thinking`, but found `{}`. When `thinking` is enabled, a final `assistant` "
    "message must start with a thinking block (preceeding the lastmost set of `tool_use` and `tool_result` blocks)."
)
UNWANTED = "When thinking is disabled, an `assistant` message in the final position cannot contain `thinking`"
UNPAIRED = "messages.{}: `tool_use` ids {} were found, and `tool_result` blocks for {}"
UNANSWERED = "messages.{}: `{}` tool use with id `{}` was found without a corresponding `{}_tool_result` block"
EMPTY = "messages: text content blocks must be non-empty"
BLANK = "messages: text content blocks must contain non-whitespace text"
NO_CONTENT = "messages.{}: all messages must have non-empty content"
FINAL = "The final block in an assistant message cannot be `thinking`"
CLEAR_THINKING = "clear_thinking_20251015"
THINKING = ("thinking", "redacted_thinking")


class RefusedError(Exception):
    """The request is refused with this text; `mismatch` is told in a header, too."""

    def __init__(self, message: str, *, mismatch: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.mismatch = mismatch


@dataclass
class Accepted:
    """What the model sees of an accepted request.

    prefix, chain: what a block of the answer is bound to. dropped: the blocks that were left out, and why.
    listed: those that the answer lists.
    """

    prefix: str
    chain: tuple[str, ...]
    dropped: list[tuple[str, str]] = field(default_factory=list)
    listed: list[str] = field(default_factory=list)


class AnthropicJudge:
    """Judges requests. strict_latest: an edited block of the latest message is told as such, not as invalid."""

    def __init__(self, signer: Signer, *, knows_binding: bool = True, strict_latest: bool = False) -> None:
        self._signer = signer
        self._knows_binding = knows_binding
        self._strict_latest = strict_latest

    def judge(self, headers: Mapping[str, str], body: dict[str, Any], key: str) -> Accepted:
        """What the model sees. Raises RefusedError."""
        drops = self._drops(headers, body)
        for name in ("model", "messages"):
            if not body.get(name):
                raise RefusedError(f"{name}: {LOST}")
        _check_setting(body)
        _check_structure(body["messages"])
        accepted = self._check_blocks(body, key, drops=drops)
        _check_rounds(body)
        return accepted

    def _drops(self, headers: Mapping[str, str], body: dict[str, Any]) -> bool:
        asked = BETA in (name.strip() for name in headers.get("anthropic-beta", "").split(","))
        if asked and not self._knows_binding:
            raise RefusedError(f"Unexpected value(s) `{BETA}` for the `anthropic-beta` header.")
        thinking = body.get("thinking") or {}
        binding = thinking.get("block_binding")
        if binding is None:
            return False
        kind = thinking.get("type")
        if not asked or kind not in ("enabled", "adaptive"):
            raise RefusedError(f"thinking.{kind}.block_binding: Extra inputs are not permitted")
        return bool(binding.get("prefix_mismatch_behavior") == "drop_block")

    def _check_blocks(self, body: dict[str, Any], key: str, *, drops: bool) -> Accepted:
        messages = body["messages"]
        latest = max((n for n, message in enumerate(messages) if message["role"] == "assistant"), default=-1)
        system, tools = as_blocks(body.get("system") or []), body.get("tools") or []
        accepted = Accepted(key_of([plain(block) for block in system], [plain(tool) for tool in tools]), ())
        for number, message in enumerate(messages):
            turn: list[Claims] = []
            for place, block in enumerate(blocks_of(message)):
                where = f"messages.{number}.content.{place}"
                if block.get("type") not in THINKING:
                    accepted.prefix = key_of(accepted.prefix, message["role"], number, plain(block))
                    continue
                claims = self._verified(where, block, latest=number == latest)
                turn.append(claims)
                self._place(where, block, claims, body["model"], key, accepted, drops=drops)
            if number == latest:
                _check_turn(f"messages.{number}.content.0", turn)
        return accepted

    def _verified(self, where: str, block: dict[str, Any], *, latest: bool) -> Claims:
        redacted = block["type"] == "redacted_thinking"
        for name in () if redacted else ("signature", "thinking"):
            if name not in block:
                raise RefusedError(f"{where}.thinking.{name}: {LOST}")
        claims = self._signer.read(block.get("data" if redacted else "signature"))
        if claims is None or claims.vendor != "anthropic" or claims.signed != signed_by(block):
            if latest and self._strict_latest and claims is not None:
                raise RefusedError(f"{where}: {CHANGED}")
            raise RefusedError(f"{where}: {INVALID_DATA if redacted else INVALID}")
        return claims

    @staticmethod
    def _place(
        where: str, block: dict[str, Any], claims: Claims, model: str, key: str, accepted: Accepted, *, drops: bool
    ) -> None:
        if claims.family != key_of(family_of(model)):
            accepted.dropped.append((where, "another model"))
        elif claims.credential != key_of(key):
            accepted.dropped.append((where, "another organization"))
        elif has_prefix_check(model) and not _fits(claims, accepted):
            if not drops:
                raise RefusedError(f"{where}: {BOUND}", mismatch=True)
            accepted.dropped.append((where, "prefix"))
            accepted.listed.append(where)
        else:
            accepted.chain = (*accepted.chain, block_key(block))


def _fits(claims: Claims, accepted: Accepted) -> bool:
    """Whether a block stands where it was made: blocks may be gone from the beginning, but not from in between."""
    present = accepted.chain
    return claims.prefix == accepted.prefix and (not present or claims.chain[-len(present) :] == present)


def _check_turn(where: str, turn: list[Claims]) -> None:
    """The latest message has all the blocks of its answer, in their order, or none of them."""
    if turn and [(claims.turn, claims.ordinal) for claims in turn] != [(turn[0].turn, n) for n in range(turn[0].size)]:
        raise RefusedError(f"{where}: {CHANGED}")


def _check_setting(body: dict[str, Any]) -> None:
    kind = (body.get("thinking") or {}).get("type")
    edits = (body.get("context_management") or {}).get("edits", [])
    if kind not in ("enabled", "adaptive") and any(edit["type"] == CLEAR_THINKING for edit in edits):
        raise RefusedError(f"`{CLEAR_THINKING}` strategy requires `thinking` to be enabled or adaptive")
    found = claude_version(body["model"])
    if found is None:
        return
    line, version = found
    modern = line in ("fable", "mythos")
    if kind == "enabled" and (modern or version >= (4, 7)):
        raise RefusedError("thinking.type: `enabled` is not supported by this model; use `adaptive`")
    if kind == "disabled" and (modern or (line != "haiku" and version >= (5, 5))):
        raise RefusedError("thinking.type: `disabled` is not supported by this model")


def _check_structure(messages: list[dict[str, Any]]) -> None:
    if not messages or messages[0]["role"] != "user":
        raise RefusedError("messages: first message must use the `user` role")
    open_calls: list[str] = []
    for number, message in enumerate(messages):
        blocks = blocks_of(message)
        if message["role"] == "system":
            continue
        _check_content(number, message["role"], blocks)
        if message["role"] == "assistant" and blocks[-1].get("type") in THINKING:
            raise RefusedError(f"messages.{number}: {FINAL}")
        results = [block["tool_use_id"] for block in blocks if block.get("type") == "tool_result"]
        if sorted(results) != sorted(open_calls):
            raise RefusedError(UNPAIRED.format(number, open_calls, results))
        open_calls = [block["id"] for block in blocks if block.get("type") == "tool_use"]
    if open_calls:
        raise RefusedError(UNPAIRED.format(len(messages), open_calls, []))


def _check_content(number: int, role: str, blocks: list[dict[str, Any]]) -> None:
    """What every message must have: no empty text, none of white space alone, and a result for each server tool."""
    texts = [block["text"] for block in blocks if block.get("type") == "text"]
    if not blocks:
        raise RefusedError(NO_CONTENT.format(number))
    if "" in texts:
        raise RefusedError(EMPTY)
    calls = role == "assistant" and any(block.get("type") == "tool_use" for block in blocks)
    if texts and not calls and not any(text.strip() for text in texts):
        raise RefusedError(BLANK)
    answered = [block.get("tool_use_id") for block in blocks]
    for block in blocks:
        if block.get("type") == "server_tool_use" and block["id"] not in answered:
            raise RefusedError(UNANSWERED.format(number, block["name"], block["id"], block["name"]))


def _check_rounds(body: dict[str, Any]) -> None:
    """What the message in the final position may begin with and contain."""
    kind = (body.get("thinking") or {}).get("type")
    messages = [(number, message) for number, message in enumerate(body["messages"]) if message["role"] != "system"]
    in_round = any(block.get("type") == "tool_result" for block in blocks_of(messages[-1][1]))
    number, message = messages[-2 if in_round else -1]
    if message["role"] != "assistant":
        return
    blocks = blocks_of(message)
    if kind == "enabled" and in_round and blocks[0].get("type") not in THINKING:
        raise RefusedError(f"messages.{number}.content.0.type: " + UNOPENED.format(blocks[0].get("type")))
    for place, block in enumerate(blocks):
        if kind == "disabled" and block.get("type") in THINKING:
            raise RefusedError(f"messages.{number}.content.{place}: {UNWANTED}")


def blocks_of(message: dict[str, Any]) -> list[dict[str, Any]]:
    """A message's content as blocks."""
    return as_blocks(message["content"])


def as_blocks(content: str | list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Blocks, also of what is written as a string."""
    return [{"type": "text", "text": content}] if isinstance(content, str) else list(content)


def signed_by(block: dict[str, Any]) -> str:
    """What a signature signs of a block."""
    return key_of(block["type"], block.get("thinking", ""))


def block_key(block: dict[str, Any]) -> str:
    """What identifies a block in the chain of those before another one."""
    return key_of(block.get("signature"), block.get("data"))


def plain(block: dict[str, Any]) -> dict[str, Any]:
    """A block or tool without what changes nothing: its cache mark, and whether a result's text is a string."""
    kept = {name: item for name, item in block.items() if name != "cache_control"}
    if block.get("type") == "tool_result":
        kept["content"] = [plain(each) for each in as_blocks(block.get("content") or [])]
    return kept
