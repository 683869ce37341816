"""The results for people: a table for each dialect, clients down, faults across."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tests.clients.runs import Cell

_RANKS = {"well": 3, "loud": 2, "hung": 1, "SILENT": 0}


def tables(cells: Sequence[Cell], versions: dict[str, str], missing: dict[str, str]) -> str:
    """All cells as Markdown: outcome and number of upstream calls; `→` stands between direct and proxied."""
    text = ""
    for dialect in dict.fromkeys(cell.dialect for cell in cells):
        own = [cell for cell in cells if cell.dialect == dialect]
        faults = list(dict.fromkeys(cell.fault for cell in own))
        text += f"## {dialect}\n\n| client | {' | '.join(faults)} |\n|{'---|' * (len(faults) + 1)}\n"
        for client in dict.fromkeys(cell.client for cell in own):
            shown = [_shown(cell for cell in own if (cell.client, cell.fault) == (client, fault)) for fault in faults]
            text += f"| {client} {versions.get(f'{client}, {dialect}', '')} | {' | '.join(shown)} |\n"
        text += "\n"
    if missing:
        text += "Not to be had here:\n\n" + "".join(f"- {name}: {why}\n" for name, why in missing.items()) + "\n"
    return text + _sums(cells) + _worse(cells) + _told(cells)


def _shown(cells: Iterable[Cell]) -> str:
    """Of each way its outcomes, with the numbers of calls."""
    ways: dict[str, list[str]] = {}
    for cell in cells:
        ways.setdefault(cell.way, []).append(f"{cell.outcome} {cell.calls}")
    return " → ".join(", ".join(dict.fromkeys(each)) for each in ways.values()) or "–"


def _sums(cells: Sequence[Cell]) -> str:
    text = "## In all\n\n| way | " + " | ".join(_RANKS) + " |\n|---|---|---|---|---|\n"
    for way in dict.fromkeys(cell.way for cell in cells):
        counts = [sum((cell.way, cell.outcome) == (way, each) for cell in cells) for each in _RANKS]
        text += f"| {way} | {' | '.join(map(str, counts))} |\n"
    return text + "\n"


def _worse(cells: Sequence[Cell]) -> str:
    """Where the proxy made it worse."""
    found = []
    for cell in cells:
        if cell.way == "proxied":
            place = (cell.client, cell.dialect, cell.fault)
            direct = [c for c in cells if c.way == "direct" and (c.client, c.dialect, c.fault) == place]
            if direct and _RANKS[cell.outcome] < min(_RANKS[each.outcome] for each in direct):
                found.append(f"- {', '.join(place)}: {direct[0].outcome} → {cell.outcome}: {_line(cell.told)}\n")
    if not any(cell.way == "proxied" for cell in cells):
        return ""
    return "## Worse than direct\n\n" + ("".join(found) or "None.\n") + "\n"


def _told(cells: Sequence[Cell]) -> str:
    lines = [
        f"- {cell.client}, {cell.dialect}, {cell.fault}, {cell.way} ({cell.seconds} s), {cell.outcome}: "
        f"{_line(cell.told)}"
        for cell in cells
        if cell.outcome != "well"
    ]
    return "## What was told\n\n" + "\n".join(lines) + "\n"


def _line(text: str) -> str:
    return " ".join(text.split())[:200]
