"""Google's Application Default Credentials, by `google-auth`, which is an extra: `[vertex]`."""

import os
import re
from datetime import UTC, datetime
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from antigravity_healing.proxy.secrets.files import read_file
from antigravity_healing.proxy.secrets.given import Given, SourceError
from antigravity_healing.wire.vertex import PAYING_PROJECT

INSTALL = "pip install 'antigravity-healing-proxy[vertex]'"
LOGIN = "gcloud auth application-default login"
_FILE = "GOOGLE_APPLICATION_CREDENTIALS"
_SCOPES = ["https://www.googleapis.com/auth/cloud-platform"]
# Before a token ends another one is fetched: what it is sent with may wait on its way.
_EARLY_S = 120.0
_CODE = re.compile(r"\b(invalid_grant|invalid_client|invalid_scope|unauthorized_client|access_denied|invalid_rapt)\b")


def is_installed() -> bool:
    """Whether there is what it takes."""
    try:
        return find_spec("google.auth") is not None and find_spec("requests") is not None
    except ModuleNotFoundError:
        return False


def fetch_token(path: str, seconds: float, most: int) -> Given:
    """A new access token, and how long it is good for.

    path: of a file with credentials, "" for the default ones: `GOOGLE_APPLICATION_CREDENTIALS`, what gcloud has kept,
    or the machine's own account. seconds: what each request for it may take. most: how many bytes a file may have.
    Raises SourceError, without anything of the credentials.
    """
    if not is_installed():
        raise SourceError(f"adc: needs google-auth, which is not installed: {INSTALL}")
    auth, transport = import_module("google.auth"), import_module("google.auth.transport.requests")
    errors = import_module("google.auth.exceptions")
    if file := path or os.environ.get(_FILE, ""):
        # google-auth waits for what a pipe says, and reads on for as long as there is something.
        read_file(file, most)
    request = _bounded(transport.Request(), seconds)
    try:
        if path:
            credentials, _ = auth.load_credentials_from_file(path, scopes=_SCOPES)
        else:
            credentials, _ = auth.default(scopes=_SCOPES, request=request)
    except errors.DefaultCredentialsError:
        # What it says may quote the file.
        if path:
            raise SourceError(f"the file {path} has no credentials that Google knows") from None
        raise SourceError(
            f"there are no Application Default Credentials that can be read: run {LOGIN}, or name a file in {_FILE}"
        ) from None
    except (OSError, ValueError):
        raise SourceError(f"the credentials in {path or _FILE} cannot be read") from None
    try:
        credentials.refresh(request)
    except errors.TransportError:
        raise SourceError("Google's server for tokens can't be reached") from None
    except errors.GoogleAuthError as error:
        code = _CODE.search(str(error))
        said = f" ({code[1]})" if code else ""
        raise SourceError(f"Google does not take these Application Default Credentials{said}: run {LOGIN}") from None
    return _given(credentials)


def _given(credentials: Any) -> Given:
    token = credentials.token
    if not isinstance(token, str) or not token.isascii() or not token.isprintable():
        raise SourceError("Google gave no access token for the Application Default Credentials")
    lasts_s = None
    if isinstance(expiry := credentials.expiry, datetime):
        # Theirs is in UTC, and does not say so.
        lasts_s = (expiry.replace(tzinfo=UTC) - datetime.now(UTC)).total_seconds() - _EARLY_S
    project = getattr(credentials, "quota_project_id", None)
    headers = ((PAYING_PROJECT, project),) if isinstance(project, str) and project.isascii() else ()
    return Given(token, lasts_s, headers)


def _bounded(request: Any, seconds: float) -> Any:
    """The transport, whose requests take no longer than this."""

    def send(url: str, **arguments: Any) -> Any:
        arguments["timeout"] = min(seconds, arguments.get("timeout") or seconds)
        return request(url=url, **arguments)

    return send
