"""The files of the page."""

from pathlib import Path

import pytest
from antigravity_healing.monitor.serving.files import PageFiles
from antigravity_healing.proxy.own_pages.pages import MOST_BYTES, PageAnswer, PageRequest


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    page = tmp_path / "page"
    (page / "parts").mkdir(parents=True)
    (page / "index.html").write_text("<!doctype html>")
    (page / "app.js").write_text("1")
    (page / "parts" / "a-b.min.css").write_text("a{}")
    (page / ".hidden.js").write_text("hidden")
    (page / "notes.py").write_text("no page's file")
    (tmp_path / "secret.txt").write_text("secret")
    return page


def ask(files: PageFiles, path: str, **headers: str) -> PageAnswer:
    return files.answer(
        PageRequest("GET", path, {}, {name.replace("_", "-"): value for name, value in headers.items()})
    )


def test_the_root_is_the_index_and_files_lie_beside_it(folder: Path) -> None:
    files = PageFiles(folder)
    assert ask(files, "/antigravity/").body == b"<!doctype html>"
    assert ask(files, "/antigravity/").content_type == "text/html; charset=utf-8"
    assert ask(files, "/antigravity/app.js").content_type == "text/javascript; charset=utf-8"
    assert ask(files, "/antigravity/parts/a-b.min.css").body == b"a{}"


@pytest.mark.parametrize(
    "path",
    [
        "../secret.txt", "parts/../../secret.txt", "..%2fsecret.txt", "/secret.txt", "//etc/hostname", ".hidden.js",
        "notes.py", "parts", "parts/", "none.js", "app.js/", "app.js\\..\\app.js", "app.js\n",
    ],
)  # fmt: skip
def test_nothing_else_is_shown(folder: Path, path: str) -> None:
    answer = ask(PageFiles(folder), f"/antigravity/{path}")
    assert answer.status == 404
    assert answer.content_type.startswith("text/plain")


def test_a_file_is_sent_again_when_it_is_another_one(folder: Path) -> None:
    files = PageFiles(folder)
    first = ask(files, "/antigravity/app.js")
    etag = first.headers["etag"]
    assert first.headers["cache-control"] == "no-cache"
    same = ask(files, "/antigravity/app.js", if_none_match=f'"other", {etag}')
    assert (same.status, same.body, same.headers["etag"]) == (304, b"", etag)
    (folder / "app.js").write_text("22")
    changed = ask(files, "/antigravity/app.js", if_none_match=etag)
    assert (changed.status, changed.body) == (200, b"22")


def test_without_a_folder_there_is_nothing(tmp_path: Path) -> None:
    assert ask(PageFiles(tmp_path / "none"), "/antigravity/").status == 404


def test_what_the_package_brings_can_be_sent() -> None:
    files = PageFiles()
    for file in files.folder.rglob("*"):
        if file.is_file():
            answer = ask(files, f"/antigravity/{file.relative_to(files.folder).as_posix()}")
            assert answer.status == 200, file
            assert len(answer.body) <= MOST_BYTES
