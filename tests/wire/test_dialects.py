"""What differs by dialect is in the dialect: nothing else knows one by its name."""

import ast
from collections.abc import Iterator
from pathlib import Path

import antigravity_healing
from antigravity_healing.wire.dialects import DIALECTS

ROOT = Path(antigravity_healing.__file__).parent
OF_ONE = tuple(f"wire/{name}/" for name in DIALECTS)
# What is known of dialects beyond what they are themselves, by their own modules and by pair.
BEYOND = ("policy/signing/", "policy/translating/", "wire/translate/")
REGISTRY = "wire/dialects.py"
# One provider's place, which serves several dialects.
VERTEX = "wire/vertex.py"


def modules(*without: str) -> Iterator[tuple[str, ast.Module]]:
    """The paths and the code of all modules that do not lie there."""
    for path in sorted(ROOT.rglob("*.py")):
        name = path.relative_to(ROOT).as_posix()
        if not name.startswith((*OF_ONE, *without)):
            yield name, ast.parse(path.read_text())


def test_no_module_but_a_dialects_own_names_one() -> None:
    names = {name for dialect in DIALECTS.values() for name in (dialect.name, dialect.label)}
    found = [
        f"{path}:{node.lineno}: {node.value!r}"
        for path, tree in modules()
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in names
    ]
    assert found == []


def test_no_module_but_a_dialects_own_and_what_is_known_beyond_it_imports_one() -> None:
    rooms = tuple(f"antigravity_healing.wire.{name}" for name in DIALECTS)
    found = [
        f"{path}:{node.lineno}: {node.module}"
        for path, tree in modules(*BEYOND, REGISTRY)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module is not None and node.module.startswith(rooms)
    ]
    assert found == []


def test_no_module_but_a_dialects_own_names_a_header_of_its_api() -> None:
    headers = {name for dialect in DIALECTS.values() for name in dialect.credentials.headers} - {"authorization"}
    starts = tuple(dialect.answer_headers for dialect in DIALECTS.values() if dialect.answer_headers)
    found = [
        f"{path}:{node.lineno}: {node.value!r}"
        for path, tree in modules(VERTEX)
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str | bytes)
        for text in (node.value if isinstance(node.value, str) else node.value.decode("latin-1"),)
        if text in headers or text.startswith(starts)
    ]
    assert found == []
