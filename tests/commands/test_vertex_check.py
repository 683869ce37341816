"""`antigravity check` on Vertex AI, against a server that answers as it does."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from antigravity_healing.commands.check import print_checks
from antigravity_healing.policy.settings.file import load

from tests.e2e.harness import upstream
from tests.upstream import Call, Reply, Upstream, error_info, gemini_error
from tests.upstream.gemini import JSON_HEADERS

MODELS = {"gemini": "gemini-x-flash", "anthropic": "claude-x"}
COUNTS = {"gemini": {"totalTokens": 1}, "anthropic": {"input_tokens": 8}}
PUBLISHERS = {"gemini": "google", "anthropic": "anthropic"}
FOLDER = "/v1/projects/p-one/locations/europe-west4/publishers"
GONE = gemini_error(404, None, "Publisher Model `m` was not found or your project does not have access to it.")
both = pytest.mark.parametrize("dialect", ["gemini", "anthropic"])


def said(value: object) -> Reply:
    return Reply(200, JSON_HEADERS, json.dumps(value).encode())


def listing(dialect: str, *names: str) -> Reply:
    return said({"publisherModels": [{"name": f"publishers/{PUBLISHERS[dialect]}/models/{name}"} for name in names]})


@pytest.fixture(scope="module")
def shared() -> Iterator[Upstream]:
    with Upstream() as server:
        yield server


@pytest.fixture
def server(shared: Upstream) -> Upstream:
    shared.reset()
    return shared


def checked(
    folder: Path, capsys: pytest.CaptureFixture[str], url: str, dialect: str, account: str = "", more: str = ""
) -> tuple[int, str]:
    """The exit status, and what is said of the one account."""
    file = folder / "antigravity.toml"
    config = (
        upstream("there", dialect, url) + 'location = "europe-west4"\nproject = "p-one"\n[[accounts]]\nname = "a"\n'
    )
    file.write_text(f'{config}upstream = "there"\nbearer = "key-of-a-0123456789"\n{account}\n{more}')
    file.chmod(0o600)
    status = print_checks(file, load(file))
    (_, line) = capsys.readouterr().out.splitlines()
    assert "key-of-" not in line
    return status, line


def counted_at(call: Call) -> str:
    """The model whose tokens a call counts, as far as it is for the project."""
    assert call.method == "POST"
    assert call.credential == "bearer:key-of-a-0123456789"
    if call.path == f"{FOLDER}/anthropic/models/count-tokens:rawPredict":
        assert call.json["anthropic_version"].startswith("vertex-")
        return str(call.json["model"])
    assert call.path.startswith(f"{FOLDER}/google/models/")
    assert call.json["contents"][0]["role"] == "user"
    return call.path.rpartition("/")[2].removesuffix(":countTokens")


@both
def test_tokens_are_counted_in_the_accounts_project_for_the_model_that_it_names(
    server: Upstream, tmp_path: Path, capsys: pytest.CaptureFixture[str], dialect: str
) -> None:
    server.play(said(COUNTS[dialect]))
    model = MODELS[dialect]
    assert checked(tmp_path, capsys, server.url, dialect, f'models = ["{model}"]') == (0, "  a (there): usable")
    assert [counted_at(call) for call in server.calls] == [model]


@both
def test_a_model_that_a_route_leads_to_is_counted_for(
    server: Upstream, tmp_path: Path, capsys: pytest.CaptureFixture[str], dialect: str
) -> None:
    server.play(said(COUNTS[dialect]))
    routes = '[models]\n"*" = "there/routed-1"\n'
    assert checked(tmp_path, capsys, server.url, dialect, more=routes)[0] == 0
    assert [counted_at(call) for call in server.calls] == ["routed-1"]


@both
def test_where_none_is_named_one_of_the_publishers_is_taken(
    server: Upstream, tmp_path: Path, capsys: pytest.CaptureFixture[str], dialect: str
) -> None:
    model = MODELS[dialect]
    names = ("imagegeneration", "gemini-embedding-001", f"{model}-2-preview", model, f"{model}-1")
    server.play(listing(dialect, *names), GONE, said(COUNTS[dialect]))
    assert checked(tmp_path, capsys, server.url, dialect) == (0, "  a (there): usable")
    asked, *counted = server.calls
    assert (asked.method, asked.path) == ("GET", f"/v1beta1/publishers/{PUBLISHERS[dialect]}/models")
    assert [counted_at(call) for call in counted] == [f"{model}-1", model]


RESOURCE = "//aiplatform.googleapis.com/projects/p-one/locations/europe-west4/publishers/google/models/m"
NO_ROLE = f"Permission 'aiplatform.endpoints.predict' denied on resource '{RESOURCE}' (or it may not exist)."
NOT_ENABLED = "Vertex AI API has not been used in project 123 before or it is disabled. Enable it by visiting …"
REFUSALS: dict[str, tuple[Reply, str, str]] = {
    "no role": (
        gemini_error(
            403, None, NO_ROLE, details=[error_info("IAM_PERMISSION_DENIED", resource="projects/p-one")],
        ),
        "the credential has no permission to ask project p-one: 403 PERMISSION_DENIED",
        "give it the role roles/aiplatform.user (Vertex AI User) in that project, or name another project",
    ),
    "API not enabled": (
        gemini_error(
            403, None, NOT_ENABLED, details=[error_info("SERVICE_DISABLED", service="aiplatform.googleapis.com")],
        ),
        "the Vertex AI API is not enabled in project p-one",
        "gcloud services enable aiplatform.googleapis.com --project p-one",
    ),
    "no such project": (
        gemini_error(
            403, None, "Permission denied on resource project p-one.", details=[error_info("CONSUMER_INVALID")]
        ),
        "there is no project p-one, or the credential may not see it",
        "write the project's id, not its name, as project",
    ),
    "without a reason": (
        gemini_error(403, None, "Permission denied on resource project p-one."),
        "there is no project p-one",
        "write the project's id",
    ),
    "no billing": (
        gemini_error(
            403, None, "This API method requires billing to be enabled. Please enable billing on project #123.",
            details=[error_info("BILLING_DISABLED")],
        ),
        "project p-one has no billing account",
        "turn billing on",
    ),
    "no such location": (
        Reply(404, {"content-type": "text/html"}, b"<html>Error 404 (Not Found)!!1</html>"),
        "is no Vertex AI: 404",
        "check the location europe-west4, or the url of upstream there",
    ),
    "no such model": (
        GONE,
        "no model that the configuration names is to be had: m: 404 NOT_FOUND: Publisher Model",
        "check the model's name and the location europe-west4",
    ),
    "a token that is over": (
        gemini_error(
            401, None, "Request had invalid authentication credentials.", details=[error_info("ACCESS_TOKEN_EXPIRED")]
        ),
        "the key of a is refused: 401",
        "put a new key into ",
    ),
    "overloaded": (gemini_error(503, None, "Busy."), "the service behind a is overloaded", "wait, and send it again"),
}  # fmt: skip


@both
@pytest.mark.parametrize("name", REFUSALS)
def test_what_the_project_refuses_is_told_in_one_line_with_what_to_do(
    server: Upstream, tmp_path: Path, capsys: pytest.CaptureFixture[str], dialect: str, name: str
) -> None:
    reply, told, do = REFUSALS[name]
    server.default = reply
    status, line = checked(tmp_path, capsys, server.url, dialect, 'models = ["m"]')
    assert (status, len(server.calls)) == (1, 1)
    what, _, to_do = line.partition(" | TO DO: ")
    assert what.startswith("  a (there): NOT USABLE: ")
    assert told in what
    assert do in to_do


def test_a_list_that_is_refused_says_nothing_of_the_project_and_a_refused_key_all(
    server: Upstream, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    off = gemini_error(403, None, "Vertex AI API has not been used in project 764086051850 before or it is disabled.")
    server.play(off, gemini_error(401, None, "Request had invalid authentication credentials."))
    status, line = checked(tmp_path, capsys, server.url, "gemini")
    assert status == 1
    assert "not known: no model is named to try it with" in line
    assert f"TO DO: name one that it serves, by models ({tmp_path}/antigravity.toml, accounts[0])" in line
    assert "the key of a is refused" in checked(tmp_path, capsys, server.url, "gemini")[1]


def test_when_none_of_the_listed_models_is_there_that_is_said_and_no_more_are_tried(
    server: Upstream, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.play(listing("gemini", *(f"gemini-{number}" for number in range(20))), GONE, GONE, GONE, GONE)
    status, line = checked(tmp_path, capsys, server.url, "gemini")
    assert (status, len(server.calls)) == (1, 5)
    assert "the project may be asked, but has none of the listed models here" in line


def test_where_nothing_answers_the_location_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, line = checked(tmp_path, capsys, "http://127.0.0.1:1", "gemini", 'models = ["m"]')
    assert "nothing answers at http://127.0.0.1:1" in line
    assert "TO DO: check the network, and the location europe-west4, or the url of upstream there" in line
