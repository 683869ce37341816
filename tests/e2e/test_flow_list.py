"""mitmweb's flow list has the column of comments, unless its user chose columns."""

from collections.abc import Sequence
from pathlib import Path

import orjson
import pytest

from tests.e2e.web import Web, running_web
from tests.upstream import Upstream


def columns(web: Web) -> list[str]:
    found: list[str] = orjson.loads(web._ask("GET", "/options").body)["web_columns"]["value"]
    return found


@pytest.mark.parametrize(
    ("args", "shown"),
    [
        ((), ["tls", "icon", "path", "comment", "method", "status", "size", "time"]),
        (("--set", "web_columns=path", "--set", "web_columns=time"), ["path", "time"]),
    ],
)
def test_comments_are_shown_unless_the_user_chose_columns(
    tmp_path: Path, args: Sequence[str], shown: list[str]
) -> None:
    with Upstream() as server, running_web(tmp_path, server, "", args) as web:
        web.wait_for(lambda: columns(web) == shown)
