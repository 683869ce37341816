"""Drives a Python SDK, in its own environment: `python sdks.py NAME`.

For each line of standard input, `{"url", "prompt", "tool"}` as JSON, it asks once and prints a line: what was `said`,
which `calls` of tools came, as pairs of name and input, and what was `raised`.
"""

import asyncio
import json
import os
import sys
from collections.abc import Callable, Iterable
from typing import Any

KEY = "client-key-0123456789"
CLAUDE, GEMINI = "claude-sonnet-4-5", "gemini-2.5-pro"
SCHEMA = {
    "type": "object",
    "properties": {"path": {"type": "string"}, "content": {"type": "string"}},
    "required": ["path", "content"],
}
WHAT = "Writes a file."

type Got = tuple[str, list[Any]]
"""What was said, and the calls."""


def anthropic(url: str, prompt: str, tool: bool) -> Got:
    from anthropic import Anthropic

    more: Any = {"tools": [{"name": "write_file", "description": WHAT, "input_schema": SCHEMA}]} if tool else {}
    said: list[Any] = [{"role": "user", "content": prompt}]
    client = Anthropic(base_url=url, api_key=KEY)
    with client.messages.stream(model=CLAUDE, max_tokens=500, messages=said, **more) as stream:
        message = stream.get_final_message()
    text = "".join(block.text for block in message.content if block.type == "text")
    return text, [(block.name, block.input) for block in message.content if block.type == "tool_use"]


def google(url: str, prompt: str, tool: bool) -> Got:
    from google import genai
    from google.genai import types

    declared = [{"name": "write_file", "description": WHAT, "parameters_json_schema": SCHEMA}]
    config = types.GenerateContentConfig.model_validate({"tools": [{"function_declarations": declared}]})
    client = genai.Client(api_key=KEY, http_options=types.HttpOptions(base_url=url))
    text, calls = "", []
    chunks = client.models.generate_content_stream(model=GEMINI, contents=prompt, config=config if tool else None)
    for chunk in chunks:
        for part in (chunk.candidates and chunk.candidates[0].content and chunk.candidates[0].content.parts) or []:
            text += part.text or ""
            calls += [(part.function_call.name, part.function_call.args)] if part.function_call else []
    return text, calls


def _langchain(model: Any, prompt: str, tool: bool) -> Got:
    if tool:
        schema = {"title": "write_file", "description": WHAT, **SCHEMA}
        model = model.bind_tools([schema])
    whole = None
    for chunk in model.stream(prompt):
        whole = chunk if whole is None else whole + chunk
    if whole is None:
        return "", []
    text = whole.text if isinstance(whole.text, str) else whole.text()
    return str(text), [(call["name"], call["args"]) for call in whole.tool_calls]


def langchain_anthropic(url: str, prompt: str, tool: bool) -> Got:
    from langchain_anthropic import ChatAnthropic

    return _langchain(ChatAnthropic(model=CLAUDE, base_url=url, api_key=KEY), prompt, tool)


def langchain_google(url: str, prompt: str, tool: bool) -> Got:
    from langchain_google_genai import ChatGoogleGenerativeAI

    return _langchain(ChatGoogleGenerativeAI(model=GEMINI, base_url=url, api_key=KEY), prompt, tool)


def _pydantic_ai(model: Any, prompt: str, tool: bool) -> Got:
    from pydantic_ai import Agent

    agent: Any = Agent(model)
    calls: list[Any] = []
    if tool:

        @agent.tool_plain  # type: ignore[untyped-decorator]
        def write_file(path: str, content: str) -> str:
            """Write a file."""
            calls.append(("write_file", {"path": path, "content": content}))
            return "written"

    async def run() -> str:
        async with agent.run_stream(prompt) as result:
            return str(await result.get_output())

    # With tools a run goes on behind the first text, which `run_stream` takes for the last.
    return (agent.run_sync(prompt, event_stream_handler=_ignore).output if tool else asyncio.run(run())), calls


async def _ignore(_: Any, events: Any) -> None:
    """Have the model's answers streamed."""
    async for _event in events:
        pass


def pydantic_ai_anthropic(url: str, prompt: str, tool: bool) -> Got:
    from pydantic_ai.models.anthropic import AnthropicModel
    from pydantic_ai.providers.anthropic import AnthropicProvider

    return _pydantic_ai(AnthropicModel(CLAUDE, provider=AnthropicProvider(api_key=KEY, base_url=url)), prompt, tool)


def pydantic_ai_google(url: str, prompt: str, tool: bool) -> Got:
    from pydantic_ai.models.google import GoogleModel
    from pydantic_ai.providers.google import GoogleProvider

    return _pydantic_ai(GoogleModel(GEMINI, provider=GoogleProvider(api_key=KEY, base_url=url)), prompt, tool)


def _litellm(model: str, url: str, prompt: str, tool: bool) -> Got:
    import litellm

    declared = {"type": "function", "function": {"name": "write_file", "description": WHAT, "parameters": SCHEMA}}
    more: Any = {"tools": [declared]} if tool else {}
    said = [{"role": "user", "content": prompt}]
    chunks = litellm.completion(model, said, stream=True, api_base=url, api_key=KEY, **more)
    message = litellm.stream_chunk_builder(list(chunks), messages=said).choices[0].message
    calls = [(call.function.name, json.loads(call.function.arguments)) for call in message.tool_calls or []]
    return message.content or "", calls


def litellm_anthropic(url: str, prompt: str, tool: bool) -> Got:
    return _litellm(f"anthropic/{CLAUDE}", url, prompt, tool)


def litellm_google(url: str, prompt: str, tool: bool) -> Got:
    return _litellm(f"gemini/{GEMINI}", f"{url}/v1beta", prompt, tool)


def _instructor(client: Any, prompt: str) -> Got:
    """A whole answer: an object, whose class is a tool that the model has to call."""
    from pydantic import create_model

    made = create_model("write_file", path=(str, ...), content=(str, ...))
    found = client.create(response_model=made, messages=[{"role": "user", "content": prompt}])
    return "", [("write_file", found.model_dump())]


def instructor_anthropic(url: str, prompt: str, tool: bool) -> Got:
    import instructor
    from anthropic import Anthropic

    client = instructor.from_anthropic(Anthropic(base_url=url, api_key=KEY), model=CLAUDE, max_tokens=500)
    return _instructor(client, prompt)


def instructor_google(url: str, prompt: str, tool: bool) -> Got:
    import instructor
    from google import genai
    from google.genai import types

    google_client = genai.Client(api_key=KEY, http_options=types.HttpOptions(base_url=url))
    client = instructor.from_genai(google_client, mode=instructor.Mode.GENAI_TOOLS, model=GEMINI)
    return _instructor(client, prompt)


def _agno(model: Any, prompt: str, tool: bool) -> Got:
    from agno.agent import Agent

    calls: list[Any] = []

    def write_file(path: str, content: str) -> str:
        """Write a file."""
        calls.append(("write_file", {"path": path, "content": content}))
        return "written"

    text = ""
    for event in Agent(model=model, tools=[write_file] if tool else []).run(prompt, stream=True):
        kind = type(event).__name__
        if "Error" in kind:
            raise RuntimeError(f"{kind}: {event.content}")
        if kind == "RunContentEvent":
            text += str(event.content or "")
    return text, calls


def agno_anthropic(url: str, prompt: str, tool: bool) -> Got:
    from agno.models.anthropic import Claude

    return _agno(Claude(CLAUDE, api_key=KEY, client_params={"base_url": url}), prompt, tool)


def agno_google(url: str, prompt: str, tool: bool) -> Got:
    from agno.models.google import Gemini

    return _agno(Gemini(GEMINI, api_key=KEY, client_params={"http_options": {"base_url": url}}), prompt, tool)


def serve(ask: Callable[[str, str, bool], Got], lines: Iterable[str], answers: Any) -> None:
    """Ask for each line, and print what came of it."""
    for line in lines:
        wanted = json.loads(line)
        said, raised = "", ""
        calls: list[Any] = []
        try:
            said, calls = ask(wanted["url"], wanted["prompt"], wanted["tool"])
        except Exception as error:
            raised = f"{type(error).__name__}: {error}"
        print(json.dumps({"said": said, "calls": calls, "raised": raised}, default=str), file=answers, flush=True)


if __name__ == "__main__":
    # What the SDKs print must not stand between the answers.
    channel = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    serve(globals()[sys.argv[1]], sys.stdin, channel)
