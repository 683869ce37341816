"""What differs by dialect is in the dialect: nothing else knows one by its name."""

import ast
from functools import cache
from pathlib import Path
from typing import Any

import antigravity_healing
from antigravity_healing.wire.dialects import DIALECTS

ROOT = Path(antigravity_healing.__file__).parent
OF_ONE = tuple(f"wire/{name}/" for name in DIALECTS)
# What is known of dialects beyond what they are themselves, by their own modules and by pair.
BEYOND = ("policy/signing/", "policy/translating/", "wire/translate/")
REGISTRY = "wire/dialects.py"
# One provider's place, which serves several dialects.
VERTEX = "wire/vertex.py"


@cache
def nodes(kind: type[ast.AST]) -> list[tuple[str, Any]]:
    """All nodes of a kind in the modules that are no dialect's own, with the module's path."""
    return [(name, node) for name, node in _all_nodes() if isinstance(node, kind)]


@cache
def _all_nodes() -> list[tuple[str, ast.AST]]:
    found: list[tuple[str, ast.AST]] = []
    for path in sorted(ROOT.rglob("*.py")):
        name = path.relative_to(ROOT).as_posix()
        if not name.startswith(OF_ONE):
            tree = ast.parse(path.read_text())
            found += [(name, node) for node in ast.walk(tree) if isinstance(node, ast.Constant | ast.ImportFrom)]
    return found


def test_no_module_but_a_dialects_own_names_one() -> None:
    names = {name for dialect in DIALECTS.values() for name in (dialect.name, dialect.label)}
    found = [
        f"{path}:{node.lineno}: {node.value!r}"
        for path, node in nodes(ast.Constant)
        if isinstance(node.value, str) and node.value in names
    ]
    assert found == []


def test_no_module_but_a_dialects_own_and_what_is_known_beyond_it_imports_one() -> None:
    rooms = tuple(f"antigravity_healing.wire.{name}" for name in DIALECTS)
    found = [
        f"{path}:{node.lineno}: {node.module}"
        for path, node in nodes(ast.ImportFrom)
        if not path.startswith((*BEYOND, REGISTRY)) and node.module is not None and node.module.startswith(rooms)
    ]
    assert found == []


def test_no_module_but_a_dialects_own_names_a_header_of_its_api() -> None:
    headers = {name for dialect in DIALECTS.values() for name in dialect.credentials.headers} - {"authorization"}
    starts = tuple(dialect.answer_headers for dialect in DIALECTS.values() if dialect.answer_headers)
    found = [
        f"{path}:{node.lineno}: {node.value!r}"
        for path, node in nodes(ast.Constant)
        if path != VERTEX and isinstance(node.value, str | bytes)
        for text in (node.value if isinstance(node.value, str) else node.value.decode("latin-1"),)
        if text in headers or text.startswith(starts)
    ]
    assert found == []
