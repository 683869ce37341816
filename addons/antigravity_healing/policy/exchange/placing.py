"""How a request is sent to the upstream of an account: on Vertex AI it looks another way than elsewhere."""

from dataclasses import replace
from urllib.parse import urlsplit

from antigravity_healing.policy.routing.accounts import Account
from antigravity_healing.policy.routing.request import ClientRequest, UpstreamRequest
from antigravity_healing.policy.settings.schema import Upstream
from antigravity_healing.policy.signing.repairs import Prepared
from antigravity_healing.wire.dialect import Dialect
from antigravity_healing.wire.dialects import DIALECTS
from antigravity_healing.wire.http.paths import is_name
from antigravity_healing.wire.operation import Operation
from antigravity_healing.wire.vertex import PlainRequest, VertexForm, VertexPlace


def form_of(upstream: Upstream) -> VertexForm | None:
    """The form in which this upstream is asked on Vertex AI; None where it is not there."""
    return DIALECTS[upstream.dialect].vertex if upstream.on_vertex else None


def form_at(account: Account) -> VertexForm | None:
    """The form in which this account is asked on Vertex AI; None where that is not its upstream."""
    return form_of(account.upstream)


def is_public(upstream: Upstream) -> bool:
    """Whether this is an API's own public place, which knows no other form than the API's."""
    public = DIALECTS[upstream.dialect].public_url
    return not upstream.on_vertex and upstream.host == urlsplit(public).hostname


def meant_by(client: VertexPlace | None, upstream: Upstream) -> Upstream:
    """Where a client's own credential is for. client: where on Vertex AI it means to ask, None if it does not.

    Raises ValidationError where it names a place that can't be.
    """
    if client is None or not is_public(upstream):
        return upstream
    # A token for Google Cloud is of no use at the public API, and none of its business.
    given = {"dialect": upstream.dialect, "project": client.project or None, "location": client.location}
    return Upstream.model_validate(given | {"connections": upstream.connections})


def lacks_project(upstream: Upstream, *, keyed: bool) -> bool:
    """Whether this is Vertex AI and nobody says which project is asked. keyed: an API key may say it, where one can."""
    form = form_of(upstream)
    return form is not None and not upstream.project and not (form.express and keyed)


def no_place(account: Account, client: VertexPlace | None, model: str) -> str:
    """Why a model can't be asked on this account, "" if it can. client: where its client means to ask."""
    if model and (form_at(account) is not None or client is not None) and not is_name(model):
        return "the model's name, which stands in the path on Vertex AI, could be read as another path"
    keyed = account.source is None or account.source.api_key is not None
    if not lacks_project(account.upstream, keyed=keyed) or (client is not None and client.project):
        return ""
    whose = "" if account.source is None else f", or account {account.name},"
    return f"upstream {account.upstream_name} is Vertex AI and names no project: give it{whose} a project"


def place(account: Account, client: VertexPlace | None) -> VertexPlace:
    """Where on Vertex AI this account is asked."""
    upstream = account.upstream
    if upstream.project:
        return VertexPlace(upstream.project, upstream.location or "")
    return client or VertexPlace("", upstream.location or "")


def client_place(dialect: Dialect, path: str) -> VertexPlace | None:
    """Where on Vertex AI a client means to ask by this path, None if it does not."""
    return dialect.vertex.place_in(path) if dialect.vertex is not None else None


def path_at(account: Account, dialect: Dialect, path: str) -> str:
    """The path of a request that is not healed, at the upstream of an account. Raises ValueError: see `strays`."""
    form = form_at(account)
    if form is None:
        return path
    where = place(account, client_place(dialect, path))
    return form.on_vertex(PlainRequest(path, b"", None), "", Operation("other"), where, model="").path


def strays(account: Account, dialect: Dialect, path: str) -> str:
    """Why a request that is not healed can't be sent on this account, "" if it can: it would be another project's."""
    try:
        path_at(account, dialect, path)
    except ValueError as error:
        return str(error)
    return ""


def placed(prepared: Prepared, asked: UpstreamRequest, account: Account, request: ClientRequest) -> Prepared:
    """What is sent, in the form in which the account's upstream takes it."""
    form = form_at(account)
    if form is None and request.vertex is None:
        return prepared
    if form is None and not asked.translated and not is_public(account.upstream):
        form = asked.dialect.vertex  # a gateway gets what its client sends
    try:
        if form is not None:
            return _on_vertex(form, prepared, asked, account, request)
        if asked.translated or asked.dialect.vertex is None:
            return prepared
        body, headers = asked.dialect.vertex.elsewhere(prepared.body, asked.value)
        return prepared._replace(body=body, headers=headers)
    except ValueError:
        return prepared  # what is no JSON is upstream's to refuse


def _on_vertex(
    form: VertexForm, prepared: Prepared, asked: UpstreamRequest, account: Account, request: ClientRequest
) -> Prepared:
    sent = form.on_vertex(
        PlainRequest(asked.path, prepared.body, asked.value if prepared.value is None else prepared.value),
        asked.query,
        replace(asked.operation, streams=asked.streams),
        place(account, request.vertex),
        model=request.route.model or request.model,
        version="" if asked.translated else request.version,
        without=asked.without,
    )
    target = sent.path + (f"?{sent.query}" if sent.query else "")
    return prepared._replace(body=sent.body, target=target, unflagged=tuple(asked.without))
