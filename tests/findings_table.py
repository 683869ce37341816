"""The README's table of findings, made from the one that all surfaces use.

`python -m tests.findings_table` writes it into the README.
"""

from pathlib import Path

from antigravity_healing.policy.journal.findings import WORDS
from antigravity_healing.policy.journal.records import AttemptFacts

README = Path(__file__).parents[1] / "README.md"
BEGIN, END = "<!-- findings -->\n", "<!-- end of findings -->\n"
HEAD = "| | what happened | to do, if it failed | to do, if another try served |\n|---|---|---|---|\n"


def table() -> str:
    """The table: a row for each failure class, of an account `a` and a model `M`."""
    lines = []
    for kind, words in WORDS.items():
        facts = AttemptFacts(
            1, "a", "u", "M", 0.0, place="antigravity.toml, accounts[0]", url="the upstream's url", failure=kind,
            detail="…",
        )  # fmt: skip
        cells = (f"`{kind}`", words.what(facts), words.do((facts,)), words.healed((facts,)))
        lines.append("| " + " | ".join(cells) + " |\n")
    return HEAD + "".join(lines)


def with_table(readme: str) -> str:
    """The README with the table as it has to be."""
    before, rest = readme.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n{table()}\n{END}{after}"


if __name__ == "__main__":
    README.write_text(with_table(README.read_text("utf-8")), "utf-8")
