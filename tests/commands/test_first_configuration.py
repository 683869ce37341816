from pathlib import Path

import pytest
from antigravity_healing.commands.first_configuration import first_configuration
from antigravity_healing.policy.settings.file import parse
from antigravity_healing.policy.settings.schema import BUILT_IN, Config
from hypothesis import given
from hypothesis import strategies as st

NAMES = ["ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "GEMINI_API_KEY", "GOOGLE_API_KEY"]
BASE_URLS = ["ANTHROPIC_BASE_URL", "GOOGLE_GEMINI_BASE_URL"]


def read(environment: dict[str, str]) -> Config:
    return parse(first_configuration(environment), "antigravity.toml", Path("/"))


def accounts(environment: dict[str, str]) -> list[tuple[str, str, str, str]]:
    """Name, upstream, kind and source of each."""
    return [
        (each.name, each.upstream, kind, secret.get_secret_value())
        for each in read(environment).accounts
        for kind, secret in (("api_key", each.api_key), ("bearer", each.bearer))
        if secret is not None
    ]


def test_each_variable_is_an_account_and_numbered_ones_are_in_order() -> None:
    environment = {f"GEMINI_API_KEY_{number}": f"key-{number}" for number in (10, 2, 3)}
    environment |= {"GEMINI_API_KEY": "key", "ANTHROPIC_AUTH_TOKEN": "token", "ANTHROPIC_API_KEY": "other"}
    assert accounts(environment) == [
        ("anthropic", "anthropic", "api_key", "env:ANTHROPIC_API_KEY"),
        ("anthropic-2", "anthropic", "bearer", "env:ANTHROPIC_AUTH_TOKEN"),
        ("gemini", "gemini", "api_key", "env:GEMINI_API_KEY"),
        ("gemini-2", "gemini", "api_key", "env:GEMINI_API_KEY_2"),
        ("gemini-3", "gemini", "api_key", "env:GEMINI_API_KEY_3"),
        ("gemini-4", "gemini", "api_key", "env:GEMINI_API_KEY_10"),
    ]


def test_the_same_key_in_two_variables_is_one_account_and_a_blank_one_is_none() -> None:
    environment = {"GEMINI_API_KEY": "key", "GOOGLE_API_KEY": "key", "ANTHROPIC_API_KEY": " ", "GEMINI_API_KEY_X": "x"}
    assert [each[3] for each in accounts(environment)] == ["env:GEMINI_API_KEY"]


@pytest.mark.parametrize(
    ("base_url", "url"),
    [
        ("https://gateway.example/a/", "https://gateway.example/a"),
        ("http://127.0.0.1:8080", BUILT_IN["anthropic"].url),
        ("http://localhost:8080", BUILT_IN["anthropic"].url),
        ("nonsense", BUILT_IN["anthropic"].url),
        ("", BUILT_IN["anthropic"].url),
    ],
)
def test_a_credential_goes_where_the_base_url_beside_it_leads(base_url: str, url: str) -> None:
    environment = {"ANTHROPIC_AUTH_TOKEN": "token", "ANTHROPIC_BASE_URL": base_url}
    assert read(environment).upstreams["anthropic"].url == url


def test_without_any_variable_the_file_has_examples_that_work_when_uncommented() -> None:
    text = first_configuration({"PATH": "/bin"})
    assert read({}).accounts == ()
    lines = text[text.index("# [[accounts]]") :].splitlines()
    config = parse("\n".join(line.removeprefix("# ") for line in lines), "f", Path("/"))
    assert [account.name for account in config.accounts] == ["anthropic", "gemini"]


ODD = "aZ09-_ \"'\\#\n\t=é"
base_urls = st.sampled_from(['https://h.example/"\\', "https://h.example"]) | st.text(ODD + "htps:/.", max_size=20)
values = st.text(ODD, min_size=12, max_size=20) | st.sampled_from(["key-0123456789", "", " "])


@given(
    st.dictionaries(st.sampled_from([*NAMES, *(f"{name}_2" for name in NAMES)]), values),
    st.dictionaries(st.sampled_from(BASE_URLS), base_urls),
)
def test_whatever_the_environment_has_the_file_can_be_read_and_holds_no_key(
    keys: dict[str, str], urls: dict[str, str]
) -> None:
    text = first_configuration(keys | urls)
    found = parse(text, "antigravity.toml", Path("/")).accounts
    given_values = {value.strip() for value in keys.values()} - {""}
    assert bool(given_values) == bool(found)
    assert len(found) <= sum(bool(value.strip()) for value in keys.values())
    bare = first_configuration(dict.fromkeys(keys, "x") | urls)
    for value in given_values:
        assert value not in text or value in bare
