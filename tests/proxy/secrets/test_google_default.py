import os
import sys
from pathlib import Path

import pytest
from antigravity_healing.proxy.secrets.given import SourceError
from antigravity_healing.proxy.secrets.google_default import fetch_token, is_installed

MOST = 64 * 1024


def test_without_the_extra_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert is_installed()
    monkeypatch.setitem(sys.modules, "google.auth", None)
    assert not is_installed()
    with pytest.raises(SourceError, match=r"pip install 'antigravity-healing-proxy\[vertex\]'"):
        fetch_token("", 5, MOST)


def test_where_there_are_none_it_is_said_how_to_get_some(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_CLOUD_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    with pytest.raises(SourceError, match="run gcloud auth application-default login"):
        fetch_token("", 5, MOST)


@pytest.mark.parametrize("text", [None, "", "{}", '{"type": "hush"}', '{"type": "authorized_user", "hush": 1}'])
def test_a_file_without_credentials_is_named_and_not_quoted(tmp_path: Path, text: str | None) -> None:
    file = tmp_path / "credentials.json"
    if text is not None:
        file.write_text(text)
    with pytest.raises(SourceError) as caught:
        fetch_token(str(file), 5, MOST)
    assert str(file) in str(caught.value)
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize("default", [True, False])
@pytest.mark.parametrize(
    ("what", "told"), [("pipe", "is a pipe"), ("device", "is a device"), ("long", "more than 65536")]
)
def test_what_has_no_end_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str, told: str, default: bool
) -> None:
    file = tmp_path / "credentials.json"
    if what == "pipe":
        os.mkfifo(file)
    elif what == "long":
        file.write_bytes(b" " * (MOST + 1))
    else:
        file = Path("/dev/zero")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(file) if default else "")
    with pytest.raises(SourceError, match=told):
        fetch_token("" if default else str(file), 5, MOST)
