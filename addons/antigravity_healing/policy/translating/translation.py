"""The border between a client's dialect and an upstream's, for one exchange: the request over it, the answer back."""

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from functools import cached_property, partial
from typing import Any
from urllib.parse import quote

from antigravity_healing.policy.clock import Clock
from antigravity_healing.policy.judging.written import Rewriting
from antigravity_healing.policy.routing.accounts import Account
from antigravity_healing.policy.routing.request import ClientRequest, UpstreamRequest
from antigravity_healing.policy.settings import schema
from antigravity_healing.policy.signing.by_place import Known
from antigravity_healing.policy.signing.gemini_repairs import with_stand_ins
from antigravity_healing.policy.signing.prefix_check import has_prefix_check
from antigravity_healing.policy.signing.store import Origin, SignatureStore, conversation_key
from antigravity_healing.policy.signing.turns_given import Speech, TurnsGiven
from antigravity_healing.policy.translating.refused_features import Feature
from antigravity_healing.wire.anthropic import history as anthropic_history
from antigravity_healing.wire.anthropic.dialect import Anthropic
from antigravity_healing.wire.anthropic.history import thinking_type, without_blank_text, without_thinking
from antigravity_healing.wire.anthropic.prefix import bond_of_answer, with_thinking_that_fits
from antigravity_healing.wire.dialects import DIALECTS
from antigravity_healing.wire.gemini import history as gemini_history
from antigravity_healing.wire.gemini.dialect import Gemini
from antigravity_healing.wire.json import exact
from antigravity_healing.wire.json.value import dump, objects_at
from antigravity_healing.wire.operation import Operation
from antigravity_healing.wire.requests.places import Places
from antigravity_healing.wire.translate import counts
from antigravity_healing.wire.translate.common import (
    NO_HISTORY,
    AnswerTranslator,
    Body,
    UntranslatableError,
    anthropic_tool_names,
    gemini_tool_names,
)
from antigravity_healing.wire.translate.to_anthropic.answer import AnthropicAnswer, as_given_back
from antigravity_healing.wire.translate.to_anthropic.request import count_tokens_to_anthropic, to_anthropic
from antigravity_healing.wire.translate.to_anthropic.tools import argument_names
from antigravity_healing.wire.translate.to_gemini.answer import GeminiAnswer
from antigravity_healing.wire.translate.to_gemini.request import count_tokens_to_gemini, to_gemini


class Translation(ABC):
    """Translates one exchange.

    optional: what it puts into requests and upstream may not take; the first that a refusal is about is left out.
    """

    optional: tuple[Feature, ...]

    def __init__(
        self,
        request: ClientRequest,
        upstream: schema.Upstream,
        settings: schema.Translate,
        store: SignatureStore | None,
        clock: Clock,
    ) -> None:
        """upstream: of whom is asked. store: None keeps nothing."""
        self._request = request
        self._dialect = DIALECTS[upstream.dialect]
        self._upstream = upstream
        self._settings = settings
        self._store = store
        self._clock = clock

    def asked(self, without: frozenset[str]) -> UpstreamRequest:
        """The request in upstream's dialect, without what that does not take. Raises UntranslatableError."""
        kind = self._request.operation.kind
        path, query = self._path(kind)
        if kind == "get_model":
            operation = Operation(kind, self._request.route.model)
            return UpstreamRequest(self._dialect, operation, path, query, b"", None, False, translated=True)
        if not isinstance(self._request.value, dict):
            raise UntranslatableError("The body is not a JSON object.")
        try:
            value = self._translated(kind, self._exact, without)
            body = dump(value)
        except RecursionError:
            raise UntranslatableError("The body is nested too deeply.") from None
        streams = kind == "generate" and self._request.streams
        operation = Operation(kind, self._request.route.model, streams)
        return UpstreamRequest(
            self._dialect, operation, path, query, body, value, streams, translated=True
        )  # fmt: skip

    @cached_property
    def _exact(self) -> dict[str, Any]:
        """What the client's body says, in whose calls nothing is lost. Raises UntranslatableError."""
        try:
            value: dict[str, Any] = exact.made_exact(self._request.value, self._request.body)
        except ValueError as error:
            raise UntranslatableError(f"The input or the response of a call can't be read: {error}.") from None
        return value

    @abstractmethod
    def translator(self, seed: str) -> AnswerTranslator:
        """What translates an answer. seed: what makes the ids of this one unique."""

    @abstractmethod
    def whole(self, value: Any) -> dict[str, Any]:
        """The answer to a request that generates nothing: a count of tokens, or a model. Raises ValueError."""

    def keep(self, account: Account, writer: Rewriting, sent: Body) -> None:
        """Keep upstream's turn, of which the client got what this writer gave it. sent: what upstream was asked."""
        turns = self._turns(account.name)
        if turns is None:
            return
        own, shown = self._own_turn(writer), writer.content
        calls = dict(zip(self._speech.call_ids(shown), self._calls_among(own), strict=False))
        kept = turns.keep(own, shown, whole=writer.intact, calls=calls, after=self._bond(sent))
        if kept and self._store is not None and (signed := self._signed_in(own)):
            key = conversation_key(self._request.owner.client, self._request.session)
            self._store.note(key, self._origin(account.name), signed, self._clock.wall())

    @property
    @abstractmethod
    def _speech(self) -> Speech:
        """How the client's turns are read."""

    @property
    @abstractmethod
    def _places(self) -> Places:
        """Where each turn stands in the client's request."""

    def _own_turn(self, writer: Rewriting) -> list[Body]:
        """Upstream's turn as it is kept."""
        return writer.own

    @abstractmethod
    def _calls_among(self, own: list[Body]) -> list[int]:
        """The places of the calls in upstream's turn."""

    @abstractmethod
    def _signed_in(self, own: list[Body]) -> list[str]:
        """What upstream's turn has signed, in short words."""

    def _bond(self, sent: Body) -> dict[str, Any]:
        """What upstream's turn is bound to, as it is kept."""
        return {}

    def _turns(self, account: str = schema.RESERVED_ACCOUNT) -> TurnsGiven | None:
        if self._store is None:
            return None
        known = Known(self._store, self._origin(account), self._request.owner, self._places, self._clock.wall())
        return TurnsGiven(known, self._speech)

    def _origin(self, account: str) -> Origin:
        return Origin(self._upstream.url, self._request.route.model, account)

    def _history(self) -> TurnsGiven | None:
        """What is known of the client's turns, which are about to be asked for one by one."""
        turns = self._turns()
        if turns is not None:
            turns.look_up(call for content in self._model_contents() for call in self._speech.call_ids(content))
        return turns

    @abstractmethod
    def _model_contents(self) -> Iterator[list[Body]]:
        """What the model said in each of the client's messages."""

    @abstractmethod
    def _path(self, kind: str) -> tuple[str, str]: ...

    @abstractmethod
    def _translated(self, kind: str, body: dict[str, Any], without: frozenset[str]) -> dict[str, Any]: ...


class ToGemini(Translation):
    """An Anthropic client on a Gemini upstream."""

    optional = (
        Feature(
            re.compile(r"thinking[_ ]?level"),
            {
                "thinking_level": "with the lowest thinking level that every model has",
                "thinking_level_low": "without a thinking level",
            },
        ),
        Feature(
            re.compile(r"\bid\b.{0,80}function_?(?:call|response)|function_?(?:call|response).{0,20}\bid\b"),
            {"call_id": "without the ids of function calls"},
        ),
    )

    def translator(self, seed: str) -> AnthropicAnswer:
        """What makes Anthropic events of Gemini's."""
        tools = objects_at(self._request.value, "tools")
        searches = any(str(tool.get("type")).startswith("web_search") for tool in tools)
        return AnthropicAnswer(
            names=gemini_tool_names(str(tool.get("name")) for tool in tools),
            model=self._request.route.model,
            seed=seed,
            web_search=searches,
        )

    def whole(self, value: Any) -> dict[str, Any]:
        """Gemini's count, or its model, as Anthropic's."""
        if self._request.operation.kind == "count_tokens":
            return counts.anthropic_count(value)
        return counts.anthropic_model(value, self._request.model)

    @property
    def _speech(self) -> Speech:
        return anthropic_history

    @cached_property
    def _places(self) -> Places:
        return anthropic_history.places_of(self._request.value, self._request.owner.client)

    def _signed_in(self, own: list[Body]) -> list[str]:
        return gemini_history.signed_in(own)

    def _model_contents(self) -> Iterator[list[Body]]:
        return (turn.content for turn in anthropic_history.turns_of(self._request.value))

    def _own_turn(self, writer: Rewriting) -> list[Body]:
        """The parts; thoughts that are not signed, and what the client was shown in words, are not given back."""
        return as_given_back(writer.own)

    def _calls_among(self, own: list[Body]) -> list[int]:
        return [at for at, part in enumerate(own) if gemini_history.call_of(part) is not None]

    def _path(self, kind: str) -> tuple[str, str]:
        verb, query = "generateContent", ""
        if kind == "get_model":
            verb = ""
        elif kind == "count_tokens":
            verb = "countTokens"
        elif self._request.streams:
            verb, query = "streamGenerateContent", "alt=sse"
        path = f"/models/{quote(self._request.route.model, safe='')}" + (f":{verb}" if verb else "")
        return "/v1beta" + path, query

    def _translated(self, kind: str, body: dict[str, Any], without: frozenset[str]) -> dict[str, Any]:
        translate = count_tokens_to_gemini if kind == "count_tokens" else to_gemini
        model, vertex = self._request.route.model, self._upstream.on_vertex
        value = translate(body, model, self._history() or NO_HISTORY, vertex=vertex, without=without)
        return with_stand_ins(value, model)


class ToAnthropic(Translation):
    """A Gemini client on an Anthropic upstream."""

    optional = (
        Feature(
            re.compile(r"\badaptive\b|\bthinking\.type\b|\beffort\b"),
            {"thinking": "without the thinking settings"},
        ),
        # The model itself says texts of white space alone, and the API does not take each of them back.
        Feature(
            re.compile(r"text content blocks must (?:be non-empty|contain non-whitespace)"),
            {"blank_text": "without texts of white space alone"},
        ),
    )

    def translator(self, seed: str) -> GeminiAnswer:
        """What makes Gemini events of Anthropic's."""
        declared = (
            declaration
            for tool in objects_at(self._request.value, "tools")
            for name in ("functionDeclarations", "function_declarations")
            for declaration in objects_at(tool, name)
        )
        names = anthropic_tool_names(str(each.get("name")) for each in declared)
        arguments = partial(argument_names, self._request.value)
        return GeminiAnswer(names=names, model=self._request.route.model, seed=seed, arguments=arguments)

    def whole(self, value: Any) -> dict[str, Any]:
        """Anthropic's count, or its model, as Gemini's."""
        if self._request.operation.kind == "count_tokens":
            return counts.gemini_count(value)
        return counts.gemini_model(value, self._request.model)

    @property
    def _speech(self) -> Speech:
        return gemini_history

    @cached_property
    def _places(self) -> Places:
        return gemini_history.places_of(self._request.value, self._request.owner.client)

    def _calls_among(self, own: list[Body]) -> list[int]:
        return [at for at, block in enumerate(own) if block.get("type") == "tool_use"]

    def _signed_in(self, own: list[Body]) -> list[str]:
        return anthropic_history.signed_in(own)

    def _model_contents(self) -> Iterator[list[Body]]:
        contents = gemini_history.contents_of(self._request.value)
        return (gemini_history.parts_of(content) for content in contents if content.get("role") == "model")

    def _bond(self, sent: Body) -> dict[str, Any]:
        return {"bond": list(bond_of_answer(sent))}

    def _path(self, kind: str) -> tuple[str, str]:
        path = {"generate": "/messages", "count_tokens": "/messages/count_tokens"}.get(kind)
        return "/v1" + (path or f"/models/{quote(self._request.route.model, safe='')}"), ""

    def _translated(self, kind: str, body: dict[str, Any], without: frozenset[str]) -> dict[str, Any]:
        model, turns = self._request.route.model, self._history()
        history = turns or NO_HISTORY
        if kind == "count_tokens":
            value = count_tokens_to_anthropic(body, model, history, without=without)
        else:
            limit, streams = self._settings.max_tokens, self._request.streams
            value = to_anthropic(body, model, history, stream=streams, max_tokens=limit, without=without)
        return self._with_what_fits(value, turns, without) if turns is not None and turns.given else value

    @staticmethod
    def _with_what_fits(value: Body, turns: TurnsGiven, without: frozenset[str]) -> Body:
        """The body with as much of upstream's own turns as it takes back."""
        if "blank_text" in without:
            value = anthropic_history.with_content(
                value, lambda _, content: turns.changed(content, without_blank_text(content))
            )  # fmt: skip
        checks, thinks = has_prefix_check(value["model"]), thinking_type(value)
        if thinks == "disabled" or (thinks is None and not checks):
            return anthropic_history.with_content(value, lambda _, content: without_thinking(content))
        if checks is not False:
            value = with_thinking_that_fits(value, turns.bond)
        return value


_BETWEEN: dict[tuple[str, str], type[Translation]] = {
    (Anthropic.name, Gemini.name): ToGemini,
    (Gemini.name, Anthropic.name): ToAnthropic,
}


def translation_between(client: str, upstream: str) -> type[Translation]:
    """What translates for a client of one dialect on an upstream of another, by their names.

    Raises UntranslatableError where nothing does.
    """
    if (translation := _BETWEEN.get((client, upstream))) is not None:
        return translation
    own, other = DIALECTS[client].label, DIALECTS[upstream].label
    raise UntranslatableError(f"Nothing translates {own} for {other}; route to an upstream that speaks {own}.")
