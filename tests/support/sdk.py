"""The real SDKs' clients, pointed at a base URL: no retries of their own, short timeouts."""

import ssl
from functools import lru_cache
from pathlib import Path
from typing import Any

import anthropic
from google import genai
from google.genai import types

TIMEOUT = 15.0


def anthropic_client(
    base_url: str | None = None,
    api_key: str | None = "test-client-key",
    *,
    timeout: float = TIMEOUT,
    proxy: str | None = None,
    verify: Path | str | None = None,
    **kw: Any,
) -> anthropic.Anthropic:
    """A client that talks to `base_url` (default: the public API), through `proxy`, trusting the CA file `verify`.

    The key goes out as `Authorization: Bearer`. `kw` goes to the SDK; pass `api_key=None` to use another credential.
    """
    http_client = anthropic.DefaultHttpxClient(timeout=timeout, **_transport(proxy, verify))
    return anthropic.Anthropic(
        base_url=base_url or "https://api.anthropic.com",
        api_key=api_key,
        http_client=http_client,
        **{"timeout": timeout, "max_retries": 0, **kw},
    )


def anthropic_async_client(
    base_url: str | None = None,
    api_key: str | None = "test-client-key",
    *,
    timeout: float = TIMEOUT,
    proxy: str | None = None,
    verify: Path | str | None = None,
    **kw: Any,
) -> anthropic.AsyncAnthropic:
    """As `anthropic_client`, for asyncio."""
    http_client = anthropic.DefaultAsyncHttpxClient(timeout=timeout, **_transport(proxy, verify))
    return anthropic.AsyncAnthropic(
        base_url=base_url or "https://api.anthropic.com",
        api_key=api_key,
        http_client=http_client,
        **{"timeout": timeout, "max_retries": 0, **kw},
    )


def gemini_client(
    base_url: str | None = None,
    api_key: str | None = "test-client-key",
    api_version: str | None = None,
    *,
    timeout: float = TIMEOUT,
    proxy: str | None = None,
    verify: Path | str | None = None,
    headers: dict[str, str] | None = None,
    retry_attempts: int = 1,
    **kw: Any,
) -> genai.Client:
    """A client that talks to `base_url` (default: the public API); its asyncio side is `client.aio`.

    The timeout also goes out as the header `X-Server-Timeout`: the SDK knows no other way to set one.
    """
    transport = _transport(proxy, verify)
    options = types.HttpOptions(
        base_url=base_url or "https://generativelanguage.googleapis.com",
        api_version=api_version,
        headers=headers,
        timeout=round(timeout * 1000),
        client_args=transport,
        # For websockets it would read all trusted authorities anew.
        async_client_args={**transport, "ssl": transport["verify"]},
        # One attempt is the default, but left unsaid it is two when aiohttp is installed.
        retry_options=types.HttpRetryOptions(attempts=retry_attempts),
    )
    return genai.Client(api_key=api_key, http_options=options, **{"enterprise": False, **kw})


def _transport(proxy: str | None, verify: Path | str | None) -> dict[str, Any]:
    """Arguments of httpx2's clients, which both SDKs use. The environment's proxies are left alone."""
    # A context and not a file name, which httpx2 deprecates.
    context = ssl.create_default_context(cafile=verify) if verify else _system_trust()
    return {"proxy": proxy, "verify": context, "trust_env": False}


@lru_cache
def _system_trust() -> ssl.SSLContext:
    # One for all clients: httpx2 takes 0.4 s to make its own default.
    return ssl.create_default_context()
