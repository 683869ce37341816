import pytest
from antigravity_healing.policy.routing.named_models import Named, takes_all


@pytest.mark.parametrize(
    ("models", "fits"),
    [((), True), (("claude-a",), True), (("claude-a", "claude-b"), True), (("gpt",), False), (("",), False),
     (("claude-a", ""), False), (("claude-a", "gpt", "claude-b"), False)],
)  # fmt: skip
def test_an_account_fits_where_it_may_serve_all_that_is_named(models: tuple[str, ...], fits: bool) -> None:
    assert Named(models).fits(("other", "claude-*")) is fits


@pytest.mark.parametrize("models", [(), ("",), ("gpt", "")])
def test_an_account_for_all_models_fits_whatever_is_named(models: tuple[str, ...]) -> None:
    assert takes_all(("claude-*", "*"))
    assert Named(models).fits(("claude-*", "*"))
