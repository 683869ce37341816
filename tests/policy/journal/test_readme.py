from tests.findings_table import README, with_table


def test_the_readmes_table_is_the_one_that_all_surfaces_use() -> None:
    readme = README.read_text("utf-8")
    assert readme == with_table(readme), "python -m tests.findings_table writes it"
