"""The agents: programs that do one piece of work for a prompt, and end."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.e2e.npm import Ran

KEY = "client-key-0123456789"
CLAUDE, GEMINI = "claude-sonnet-4-5", "gemini-2.5-pro"


@dataclass(frozen=True)
class Place:
    """Where an agent works: a home of its own, a folder of files, and the URL of the API."""

    home: Path
    files: Path
    url: str


@dataclass(frozen=True)
class Started:
    """How it is started."""

    command: Sequence[str | Path]
    env: Mapping[str, str] = field(default_factory=dict)


def _nothing(home: Path) -> None:
    pass


@dataclass(frozen=True)
class Agent:
    """How an agent is started, from its environment, and read: what it said, and what it told of a failure, if any.

    tidy: ends what it leaves running, by its home.
    """

    start: Callable[[Path, Place, str], Started]
    read: Callable[[Ran], tuple[str, str]]
    tidy: Callable[[Path], None] = _nothing


def _claude(environment: Path, place: Place, prompt: str) -> Started:
    # The program itself: the package's own script would have to put it in its place.
    (command,) = environment.glob("node_modules/@anthropic-ai/claude-code-linux-*64/claude")
    options = ["--output-format", "json", "--permission-mode", "bypassPermissions", "--max-turns", "8"]
    env = {
        "ANTHROPIC_BASE_URL": place.url,
        "ANTHROPIC_API_KEY": KEY,
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "IS_SANDBOX": "1",
    }
    return Started([command, "-p", prompt, "--model", CLAUDE, *options], env)


def _read_claude(ran: Ran) -> tuple[str, str]:
    found = _objects(ran.stdout)
    result = found[-1] if found else {}
    said = str(result.get("result", ""))
    failed = ran.status != 0 or result.get("is_error") or not found
    return said, _first(said or ran.stderr, ran) if failed else ""


def _gemini(environment: Path, place: Place, prompt: str) -> Started:
    settings = {
        "security": {"auth": {"selectedType": "gemini-api-key"}},
        "privacy": {"usageStatisticsEnabled": False},
        "general": {"enableAutoUpdate": False, "enableAutoUpdateNotification": False},
        "model": {"maxSessionTurns": 8},
    }
    file = place.home / ".gemini" / "settings.json"
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(settings))
    env = {
        "GOOGLE_GEMINI_BASE_URL": place.url,
        "GEMINI_API_KEY": KEY,
        "GEMINI_CLI_TRUST_WORKSPACE": "true",
        "GEMINI_CLI_NO_RELAUNCH": "true",
    }
    command = environment / "node_modules" / ".bin" / "gemini"
    options = ["--output-format", "json", "--approval-mode", "yolo"]
    return Started([command, "-p", prompt, "-m", GEMINI, *options], env)


def _read_gemini(ran: Ran) -> tuple[str, str]:
    found = _objects(ran.stdout) or _objects(ran.stderr)
    result = found[-1] if found else {}
    said = str(result.get("response") or "")
    failed = ran.status != 0 or result.get("error") or not found
    return said, _first(str((result.get("error") or {}).get("message") or ran.stderr), ran) if failed else ""


def _opencode(model: str) -> Callable[[Path, Place, str], Started]:
    def start(environment: Path, place: Place, prompt: str) -> Started:
        providers = {
            name: {
                "options": {"baseURL": f"{place.url}/{version}", "apiKey": KEY},
                "models": {served: {"name": served}},
            }
            for name, version, served in (("anthropic", "v1", CLAUDE), ("google", "v1beta", GEMINI))
        }
        config = {"autoupdate": False, "share": "disabled", "enabled_providers": [*providers], "provider": providers}
        (place.files / "opencode.json").write_text(json.dumps(config))
        (command,) = environment.glob("node_modules/opencode-linux-*64/bin/opencode")
        env = {"OPENCODE_DISABLE_AUTOUPDATE": "1", "OPENCODE_DISABLE_MODELS_FETCH": "1"}
        return Started([command, "run", "--format", "json", "--auto", "-m", model, prompt], env)

    return start


def _read_opencode(ran: Ran) -> tuple[str, str]:
    events = _objects(ran.stdout)
    said = "".join(event["part"]["text"] for event in events if event.get("type") == "text")
    errors = [json.dumps(event.get("error")) for event in events if event.get("type") == "error"]
    failed = ran.status != 0 or errors
    return said, _first(errors[-1] if errors else ran.stderr, ran) if failed else ""


def _cline(provider: str, model: str) -> Callable[[Path, Place, str], Started]:
    def start(environment: Path, place: Place, prompt: str) -> Started:
        version = "v1" if provider == "anthropic" else "v1beta"
        settings = {"provider": provider, "apiKey": KEY, "model": model, "baseUrl": f"{place.url}/{version}"}
        file = place.home / ".cline" / "data" / "settings" / "providers.json"
        if not file.exists():
            file.parent.mkdir(parents=True)
            kept = {"settings": settings, "updatedAt": "2026-01-01T00:00:00.000Z", "tokenSource": "manual"}
            config = {"version": 1, "lastUsedProvider": provider, "modes": {}, "providers": {provider: kept}}
            file.write_text(json.dumps(config))
        command = environment / "node_modules" / ".bin" / "cline"
        env = {"CLINE_TELEMETRY_DISABLED": "1", "CLINE_NO_AUTO_UPDATE": "1"}
        return Started([command, "--json", "-P", provider, "-m", model, prompt], env)

    return start


def _read_cline(ran: Ran) -> tuple[str, str]:
    events = _objects(ran.stdout)
    results = [event for event in events if event.get("type") == "run_result"]
    result = results[-1] if results else {}
    said = str(result.get("text", ""))
    failed = ran.status != 0 or result.get("finishReason") != "completed"
    return said, _first(said or ran.stderr, ran) if failed else ""


def _tidy_cline(home: Path) -> None:
    """End its daemon, which stays for the next run."""
    lock = home / ".cline" / "data" / "locks" / "hub" / "production.json"
    with contextlib.suppress(OSError, ValueError, KeyError):
        os.kill(json.loads(lock.read_text())["pid"], signal.SIGTERM)
        lock.unlink()


def _aider(model: str, variable: str, version: str) -> Callable[[Path, Place, str], Started]:
    def start(environment: Path, place: Place, prompt: str) -> Started:
        # It would look for the prices of all models, and wait long where there is no way out.
        prices = place.home / ".aider" / "caches" / "model_prices_and_context_window.json"
        prices.parent.mkdir(parents=True, exist_ok=True)
        prices.write_text('{"none": {}}')
        provider = model.partition("/")[0].upper()
        options = ["--no-git", "--yes-always", "--no-pretty", "--no-auto-lint"]
        options += ["--no-check-update", "--analytics-disable", "--no-show-model-warnings", "--no-detect-urls"]
        env = {f"{provider}_API_KEY": KEY, variable: f"{place.url}{version}", "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
        command = environment / "bin" / "aider"
        return Started([command, "--model", model, *options, "--message", prompt], env)

    return start


def _read_aider(ran: Ran) -> tuple[str, str]:
    failed = ran.status != 0 or "litellm." in ran.stdout or "Error" in ran.stdout
    return ran.stdout, _first(next((x for x in ran.stdout.splitlines() if "rror" in x), ""), ran) if failed else ""


AGENTS = {
    "claude": Agent(_claude, _read_claude),
    "gemini": Agent(_gemini, _read_gemini),
    "opencode": Agent(_opencode(f"anthropic/{CLAUDE}"), _read_opencode),
    "opencode_google": Agent(_opencode(f"google/{GEMINI}"), _read_opencode),
    "cline": Agent(_cline("anthropic", CLAUDE), _read_cline, _tidy_cline),
    "cline_google": Agent(_cline("gemini", GEMINI), _read_cline, _tidy_cline),
    "aider": Agent(_aider(f"anthropic/{CLAUDE}", "ANTHROPIC_API_BASE", ""), _read_aider),
    "aider_google": Agent(_aider(f"gemini/{GEMINI}", "GEMINI_API_BASE", "/v1beta"), _read_aider),
}


def _objects(text: str) -> list[dict[str, Any]]:
    """The JSON objects in a text: the whole of it, or a line each, or from its first brace on."""
    for piece in (text, text[max(text.find("\n{"), text.find("{")) :]):
        with contextlib.suppress(ValueError):
            found = json.loads(piece)
            return [found] if isinstance(found, dict) else [each for each in found if isinstance(each, dict)]
    lines = []
    for line in text.splitlines():
        with contextlib.suppress(ValueError):
            found = json.loads(line)
            lines += [found] if isinstance(found, dict) else []
    return lines


def _first(text: str, ran: Ran) -> str:
    """What it told, in short; never nothing."""
    return " ".join(text.split())[:300] or f"ended with {ran.status}"
