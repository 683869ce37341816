"""Blocks of Anthropic's own tools, and of kinds that are not known, as parts of a Gemini answer."""

from typing import Any

from antigravity_healing.wire.json.exact import read_input
from antigravity_healing.wire.json.value import dump_text, joined
from antigravity_healing.wire.translate.common import Block

type Part = dict[str, Any]

# Where the code of each tool stands in its input, and its language.
_CODE = {
    "code_execution": ("code", "PYTHON"),
    "bash_code_execution": ("command", "LANGUAGE_UNSPECIFIED"),
    "text_editor_code_execution": ("", "LANGUAGE_UNSPECIFIED"),
}
_RESULTS = frozenset(f"{name}_tool_result" for name in _CODE)
# What says nothing to a reader.
_OPAQUE = frozenset(("type", "id", "tool_use_id", "caller", "signature"))


def whole(block: Block, said: dict[str, list[str]]) -> Block:
    """A block with what its deltas said, by their member; an input is read."""
    texts = {name: joined(pieces) for name, pieces in said.items()}
    written = texts.pop("partial_json", "")
    if not written:
        return {**block, **texts}
    try:
        return {**block, **texts, "input": read_input((written,))}
    except ValueError:
        return {**block, **texts, "input": written}


def part_of(block: Block) -> Part:
    """The part that says what a block says: code and its results have their own, all else is told in words."""
    kind, name = str(block.get("type")), str(block.get("name"))
    given, content = block.get("input"), block.get("content")
    if kind == "server_tool_use" and name in _CODE and isinstance(given, dict):
        member, language = _CODE[name]
        code = given.get(member)
        code = code if isinstance(code, str) else dump_text(given)
        return {"executableCode": {**_id(block.get("id")), "language": language, "code": code}}
    if kind in _RESULTS and isinstance(content, dict):
        return {"codeExecutionResult": {**_id(block.get("tool_use_id")), **_result(content)}}
    return {"text": f"[{kind}: {dump_text(_readable(block))}]"}


def _id(own: Any) -> Part:
    """What tells which code a result is of."""
    return {"id": own} if isinstance(own, str) and own else {}


def _result(content: Block) -> Part:
    if str(content.get("type")).endswith("_error") or content.get("error_code"):
        return {"outcome": "OUTCOME_FAILED", "output": str(content.get("error_code") or "")}
    outputs = [content.get("stdout"), content.get("stderr")]
    if not any(isinstance(output, str) for output in outputs):
        # The editor's results are of several forms.
        outputs = [dump_text(_readable(content))]
    output = "\n".join(output for output in outputs if isinstance(output, str) and output)
    return {"outcome": "OUTCOME_FAILED" if content.get("return_code") else "OUTCOME_OK", "output": output}


def _readable(block: Block) -> Block:
    return {
        name: value
        for name, value in block.items()
        if value is not None and name not in _OPAQUE and not name.startswith("encrypted_")
    }
