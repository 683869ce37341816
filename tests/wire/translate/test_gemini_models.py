import pytest
from antigravity_healing.policy.signing.prefix_check import takes_stand_in
from antigravity_healing.wire.gemini.models import Budgets, gemini_model

WITH_MINIMAL = ("minimal", "low", "medium", "high")
WITHOUT_MINIMAL = ("low", "medium", "high")


@pytest.mark.parametrize(
    ("name", "levels"),
    [
        ("gemini-3-pro-preview", ("low", "high")),
        ("gemini-3-flash-preview", WITH_MINIMAL),
        ("gemini-3.1-pro-preview", WITHOUT_MINIMAL),
        ("gemini-3.1-flash-lite", WITH_MINIMAL),
        ("gemini-3.5-flash", WITH_MINIMAL),
        ("gemini-3.6-flash", WITH_MINIMAL),
        ("gemini-3.7-flash", WITHOUT_MINIMAL),
        ("models/gemini-3.8-flash", WITHOUT_MINIMAL),
        ("gemini-4-argon", WITHOUT_MINIMAL),
    ],
)
def test_models_from_3_on_have_the_levels_that_exist_and_no_budgets(name: str, levels: tuple[str, ...]) -> None:
    model = gemini_model(name)
    assert (model.levels, model.budgets) == (levels, None)


@pytest.mark.parametrize(
    ("name", "budgets"),
    [
        ("gemini-2.5-pro", Budgets(128, 128, 32_768)),
        ("gemini-2.5-flash", Budgets(0, 1, 24_576)),
        ("gemini-2.5-flash-lite-preview-06-17", Budgets(0, 512, 24_576)),
    ],
)
def test_models_up_to_2_5_have_budgets_and_no_levels(name: str, budgets: Budgets) -> None:
    model = gemini_model(name)
    assert (model.levels, model.budgets) == ((), budgets)


@pytest.mark.parametrize("name", ["gemini-2.0-flash-001", "gemini-1.5-pro"])
def test_older_models_do_not_think(name: str) -> None:
    model = gemini_model(name)
    assert (model.levels, model.budgets) == ((), None)


@pytest.mark.parametrize(
    ("name", "from_3_on", "from_4_on"),
    [("gemini-2.5-pro", False, False), ("gemini-3-pro-preview", True, False), ("gemini-4-argon", True, True)],
)
def test_what_came_with_3_and_with_4(name: str, from_3_on: bool, from_4_on: bool) -> None:
    model = gemini_model(name)
    assert (model.mixes_tools, model.media_in_responses) == (from_3_on, from_3_on)
    assert (model.samples, model.continues) == (not from_4_on, not from_4_on)


@pytest.mark.parametrize("name", ["", "gemini-flash-latest", "tunedModels/mine", "gpt-5", "gemini-999.999"])
def test_a_name_that_tells_nothing_counts_as_the_newest_of_line_3(name: str) -> None:
    assert gemini_model(name) == gemini_model("gemini-3.8-flash")


@pytest.mark.parametrize("name", ["gemma-3-27b-it", "models/gemma-4-31b-it"])
def test_gemma_has_no_setting_of_thinking_and_takes_no_stand_in(name: str) -> None:
    model = gemini_model(name)
    assert (model.levels, model.budgets, model.mixes_tools, takes_stand_in(name)) == ((), None, False, False)


@pytest.mark.parametrize("name", ["gemini-3-pro-preview", "gemini-flash-latest", "tunedModels/my-gemmae"])
def test_other_models_take_the_stand_in(name: str) -> None:
    assert takes_stand_in(name)
