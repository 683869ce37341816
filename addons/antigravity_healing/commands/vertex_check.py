"""Whether an account may ask its project on Vertex AI: found out by counting the tokens of a word, which costs nothing.

The list of a publisher's models lies in no project. It is asked for only where no model to count for is named.
"""

import re
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from antigravity_healing.commands.asking import Answer
from antigravity_healing.policy.exchange.placing import form_of
from antigravity_healing.policy.judging.failures import Failure, FailureClass
from antigravity_healing.policy.routing.routes import any_matches
from antigravity_healing.policy.settings.schema import AccountSettings, Config, split_target
from antigravity_healing.wire.dialects import DIALECTS
from antigravity_healing.wire.errors.parsing import UpstreamError, parse_error
from antigravity_healing.wire.json.value import parse
from antigravity_healing.wire.operation import Operation
from antigravity_healing.wire.vertex import PlainRequest, VertexForm, VertexPlace, VertexRequest

MOST_ASKED = 4
"""For how many models tokens are counted, at most, until one is there."""
_PAGE = "pageSize=100"
_ROLE = "roles/aiplatform.user"
_API = "aiplatform.googleapis.com"


class Refusal(NamedTuple):
    """Why a project can't be asked, and what to do about that."""

    told: str
    do: str


class _Known(NamedTuple):
    """What Vertex AI says when something is missing. reason: of the ErrorInfo. text: where there is none."""

    reason: str
    text: re.Pattern[str]
    refusal: Refusal


def _known(reason: str, text: str, told: str, do: str) -> _Known:
    return _Known(reason, re.compile(text, re.IGNORECASE), Refusal(told, do))


# The first that fits; {project}, {location} and {place} are put in.
_KNOWN = (
    _known(
        "SERVICE_DISABLED", r"has not been used in project|is disabled\. enable it",
        "the Vertex AI API is not enabled in project {project}",
        f"enable it: gcloud services enable {_API} --project {{project}}; that takes some minutes",
    ),
    _known(
        "BILLING_DISABLED", r"requires billing to be enabled",
        "project {project} has no billing account",
        "turn billing on for it in Google Cloud's console",
    ),
    _known(
        "CONSUMER_INVALID", r"permission denied on resource project|project .{1,100}not found or deleted",
        "there is no project {project}, or the credential may not see it",
        "write the project's id, not its name, as project ({place}); or take a credential of that project",
    ),
    _known(
        "USER_PROJECT_DENIED", r"required permission to use project",
        "the credential may not let a project pay",
        "give it the role roles/serviceusage.serviceUsageConsumer in the project that the error names",
    ),
    _known(
        "ACCESS_TOKEN_SCOPE_INSUFFICIENT", r"insufficient authentication scopes",
        "the access token is not for Google Cloud",
        "get one with the scope https://www.googleapis.com/auth/cloud-platform ({place})",
    ),
    _known(
        "IAM_PERMISSION_DENIED", r"permission '?aiplatform\.",
        "the credential has no permission to ask project {project}",
        f"give it the role {_ROLE} (Vertex AI User) in that project, or name another project ({{place}})",
    ),
)  # fmt: skip


class VertexCheck:
    """One account's project and location.

    ask: sends a request and gives its answer. judge: what an answer that is no success means.
    """

    def __init__(
        self,
        config: Config,
        account: AccountSettings,
        ask: Callable[[str, VertexRequest], Awaitable[Answer]],
        judge: Callable[[Answer], Failure],
    ) -> None:
        self._config = config
        self._account = account
        self._upstream = config.upstream_of(account)
        self._place = VertexPlace(self._upstream.project or "", self._upstream.location or "")
        self._ask = ask
        self._judge = judge

    @property
    def where(self) -> str:
        """What says where it is asked, in words."""
        return f"the location {self._place.location}, or the url of upstream {self._account.upstream}"

    async def refusal(self) -> Refusal | Failure | None:
        """Why the account can't be used, None if it can. A Failure where that is the same as anywhere else.

        Raises NoAnswerError.
        """
        form = form_of(self._upstream)
        assert form is not None
        names = named_models(self._config, self._account)
        listed = not names
        if listed:
            answer = await self._ask("GET", self._listing(form))
            names = [name for name in _countable(form, answer) if any_matches(self._account.models, name)]
            if not names:
                failure = self._judge(answer)
                if answer.status >= 400 and failure.kind is FailureClass.AUTH:
                    return failure
                return Refusal(f"not known: no model is named to try it with, and none listed ({failure.detail})",
                               f"name one that it serves, by models ({self._account.place})")  # fmt: skip
        missing: list[str] = []
        for name in names[:MOST_ASKED]:
            answer = await self._ask("POST", form.counting(name, self._place))
            if answer.status == 200:
                return None
            refusal = self._refused(answer)
            if refusal is not None:
                return refusal
            missing.append(f"{name}: {self._judge(answer).detail}")
        return self._without_model(missing, listed=listed)

    def _listing(self, form: VertexForm) -> VertexRequest:
        plain = PlainRequest(DIALECTS[self._upstream.dialect].models_path, b"", None)
        return form.on_vertex(plain, "", Operation("list_models"), self._place, model="")._replace(query=_PAGE)

    def _refused(self, answer: Answer) -> Refusal | Failure | None:
        """What an answer means; None where it is about the model alone."""
        error, failure = parse_error(answer.body), self._judge(answer)
        if answer.status in (400, 403) and (known := known_refusal(error)) is not None:
            return self._filled(known, failure.detail)
        if error.value is None and answer.status == 404:
            return Refusal(f"{self._upstream.url} is no Vertex AI: {failure.detail}", f"check {self.where}")
        if failure.kind in (FailureClass.NO_MODEL, FailureClass.CALLER, FailureClass.NOT_THEIRS):
            return None
        return failure

    def _without_model(self, missing: list[str], *, listed: bool) -> Refusal:
        if listed:
            told = f"not known: the project may be asked, but has none of the listed models here: {'; '.join(missing)}"
        else:
            told = f"no model that the configuration names is to be had: {'; '.join(missing)}"
        do = f"check the model's name and the location {self._place.location} ({self._account.place})"
        return Refusal(told, f"{do}; some models have to be enabled once, in Vertex AI's Model Garden")

    def _filled(self, refusal: Refusal, detail: str) -> Refusal:
        where = {
            "project": self._place.project or "of the key",
            "location": self._place.location,
            "place": self._account.place,
        }
        return Refusal(f"{refusal.told.format_map(where)}: {detail}", refusal.do.format_map(where))


def known_refusal(error: UpstreamError) -> Refusal | None:
    """What this error says is missing, with places for the project's name; None where it says something else."""
    for known in _KNOWN:
        if known.reason in error.reasons:
            return known.refusal
    return next((known.refusal for known in _KNOWN if known.text.search(error.text)), None)


def named_models(config: Config, account: AccountSettings) -> list[str]:
    """The models that a configuration names for an account, as its upstream knows them."""
    targets = (split_target(target.to or pattern, config.upstreams) for pattern, target in config.models.items())
    routed = (
        model for upstream, model in targets if upstream == account.upstream and any_matches(account.models, model)
    )
    names = (*account.models, *routed)
    return [name for name in dict.fromkeys(names) if "*" not in name]


def _countable(form: VertexForm, answer: Answer) -> list[str]:
    try:
        listed = parse(answer.body) if answer.status == 200 else None
    except ValueError:
        return []
    return form.countable(listed) if isinstance(listed, dict) else []
