from antigravity_healing.policy.routing.account_groups import AccountGroups
from antigravity_healing.policy.routing.accounts import Account, runtime_accounts
from antigravity_healing.policy.routing.named_models import Named
from antigravity_healing.policy.settings import schema
from hypothesis import given
from hypothesis import strategies as st

UPSTREAMS = {
    "anthropic": schema.BUILT_IN["anthropic"],
    "gemini": schema.BUILT_IN["gemini"],
    "local": schema.Upstream(dialect="anthropic", url="http://127.0.0.1:1"),
}
MODELS = ("claude-opus", "claude-haiku", "gemini-pro", "")
_patterns = st.sampled_from(["*", "claude-*", "claude-opus", "*-pro", "other"])
_account = st.tuples(st.sampled_from(sorted(UPSTREAMS)), st.lists(_patterns, min_size=1, max_size=3).map(tuple))


def made(name: str, upstream: str, models: tuple[str, ...] = ("*",)) -> Account:
    return Account(name, name, upstream, UPSTREAMS[upstream], models=models)


@given(st.lists(_account, max_size=8), st.lists(st.sampled_from(MODELS), max_size=3).map(tuple))
def test_a_group_has_each_account_of_its_place_that_may_serve_what_is_named_in_their_order(
    drawn: list[tuple[str, tuple[str, ...]]], models: tuple[str, ...]
) -> None:
    accounts = [made(f"a{number}", upstream, patterns) for number, (upstream, patterns) in enumerate(drawn)]
    groups, named = AccountGroups(accounts), Named(models)

    def each_that_fits(there: list[Account]) -> tuple[Account, ...]:
        return tuple(one for one in there if "*" in one.models or all(model and one.serves(model) for model in models))

    for upstream in UPSTREAMS:
        there = [one for one in accounts if one.upstream_name == upstream]
        assert groups.at(upstream).accounts == tuple(there)
        assert groups.at(upstream).fitting(named) == each_that_fits(there)
    for dialect in ("anthropic", "gemini"):
        there = [one for one in accounts if one.upstream.dialect == dialect]
        assert groups.speaking(dialect).accounts == tuple(there)
        assert groups.speaking(dialect).fitting(named) == each_that_fits(there)
    assert groups.choosy is any("*" not in one.models for one in accounts)


def test_where_nobody_asks_there_is_nobody() -> None:
    groups = AccountGroups(runtime_accounts(schema.Config()))
    assert groups.at("anthropic").accounts == groups.speaking("gemini").fitting(Named()) == ()
