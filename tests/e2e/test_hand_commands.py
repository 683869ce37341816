"""What a person asks by commands: what happened, what to do, how accounts are, what the log has; and does by them."""

from collections.abc import Iterator

import pytest

from tests.e2e.harness import account, upstream
from tests.e2e.test_modes_helpers import ask, error
from tests.e2e.web import CommandFailedError, Web, running_web
from tests.upstream import Upstream, anthropic_stream

GOOD = anthropic_stream("Hello")
USED_UP = error("anthropic", 429, "Slow down", headers={"retry-after": "3000"})


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    with Upstream() as server:
        config = "".join(account(name, "anthropic", models=["m"]) for name in ("a", "b"))
        config += upstream("anthropic", "anthropic", server.url)
        with running_web(tmp_path_factory.mktemp("hand"), server, config) as web:
            web.upstream.play(USED_UP, GOOD)
            assert ask(web.proxy.url, "anthropic", "m").status == 200
            web.wait_for(lambda: web.client_flow("m")["comment"])
            yield web


def test_explain_says_what_happened_and_what_to_do(web: Web) -> None:
    (line,) = web.command("antigravity.explain", "~marked")
    assert "is used up for m until" in line
    assert "answered on the 2nd try" in line
    assert "to do: nothing; add an account if it happens daily" in line
    with pytest.raises(CommandFailedError, match="neither an exchange nor an attempt"):
        web.command("antigravity.explain", "~d nowhere.example")


def test_accounts_say_how_they_are_and_what_is_wrong(web: Web) -> None:
    lines = web.command("antigravity.accounts")
    assert sum("(anthropic): " in line for line in lines) == 2
    assert any("is used up for m until" in line and "| nothing; add an account" in line for line in lines)


def test_log_finds_what_is_asked_for(web: Web) -> None:
    web.wait_for(lambda: any("healed" in line for line in web.command("antigravity.log", "outcome=healed")))
    assert web.command("antigravity.log", "outcome=failed") == ["nothing like that is in the request log"]
    with pytest.raises(CommandFailedError, match="nothing called outcom"):
        web.command("antigravity.log", "outcom=failed")


def test_an_account_is_reset_and_the_configuration_read_anew(web: Web) -> None:
    (used_up,) = (each["name"] for each in web.proxy.health()["accounts"] if each["benches"])
    assert f"account {used_up} was reset by hand" in web.command("antigravity.account.reset", used_up)
    assert web.proxy.health()["conditions"] == []
    with pytest.raises(CommandFailedError):
        web.command("antigravity.account.reset", "nobody")
    assert "read anew" in web.command("antigravity.reload")
    good = web.proxy.config_file.read_text()
    web.proxy.config_file.write_text(good + "[retry]\nmax_attempts = 0\n")
    with pytest.raises(CommandFailedError, match=r"retry\.max_attempts: must be at least 1"):
        web.command("antigravity.reload")
    web.proxy.config_file.write_text(good)
