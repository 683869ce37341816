from pathlib import Path

import pytest
from antigravity_healing.commands.first_configuration import first_configuration
from antigravity_healing.policy.settings.file import parse
from antigravity_healing.policy.settings.schema import BUILT_IN, Config
from antigravity_healing.wire.vertex import url_of
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


ON_VERTEX = {
    "anthropic": ("CLAUDE_CODE_USE_VERTEX", "ANTHROPIC_VERTEX_PROJECT_ID", "CLOUD_ML_REGION"),
    "gemini": ("GOOGLE_GENAI_USE_VERTEXAI", "GOOGLE_CLOUD_PROJECT", "GOOGLE_CLOUD_LOCATION"),
}
ALL_KEYS = {"ANTHROPIC_API_KEY": "key-of-anthropic", "GEMINI_API_KEY": "key-of-google"}


@pytest.mark.parametrize("dialect", ON_VERTEX)
@pytest.mark.parametrize("yes", ["1", "true", "True"])
@pytest.mark.parametrize("location", ["europe-west4", ""])
def test_api_that_is_to_be_asked_at_vertex_ai_is_that_alone_and_the_other_stays(
    dialect: str, yes: str, location: str
) -> None:
    other = next(name for name in ON_VERTEX if name != dialect)
    environment = ALL_KEYS | dict(zip(ON_VERTEX[dialect], (yes, "my-project", location), strict=True))
    found = {upstream: (name, kind, source) for name, upstream, kind, source in accounts(environment)}
    assert found[dialect] == (dialect, "bearer", "adc:")
    assert found[other][1:] == ("api_key", f"env:{'GEMINI' if other == 'gemini' else 'ANTHROPIC'}_API_KEY")
    upstreams = read(environment).upstreams
    assert (upstreams[dialect].project, upstreams[dialect].location) == ("my-project", location or "global")
    assert upstreams[dialect].url == url_of(location or "global")
    assert upstreams[other] == BUILT_IN[other]


@pytest.mark.parametrize("dialect", ON_VERTEX)
@pytest.mark.parametrize(
    ("flag", "project"), [("", "my-project"), ("0", "my-project"), ("false", "my-project"), ("1", ""), ("1", 'a"\nb')]
)
def test_keys_are_used_where_vertex_ai_is_not_to_be_asked_or_has_no_project(
    dialect: str, flag: str, project: str
) -> None:
    environment = ALL_KEYS | dict(zip(ON_VERTEX[dialect], (flag, project, "us-east5"), strict=True))
    assert first_configuration(environment) == first_configuration(ALL_KEYS)


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
