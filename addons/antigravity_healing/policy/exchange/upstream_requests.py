"""What an exchange asks of upstream: the client's own request, the same as a stream, or its translation."""

import copy
import logging
from dataclasses import replace
from typing import Any

from antigravity_healing.policy.exchange.attempt import Attempt
from antigravity_healing.policy.exchange.placing import form_at
from antigravity_healing.policy.judging.failures import Failure, FailureClass
from antigravity_healing.policy.judging.written import Framing, Rewriting
from antigravity_healing.policy.routing.request import ClientRequest, UpstreamRequest
from antigravity_healing.policy.translating.refused_features import STREAM, Unsupported, refused_feature
from antigravity_healing.policy.translating.translation import Translation
from antigravity_healing.wire.errors.parsing import find_error
from antigravity_healing.wire.json import exact
from antigravity_healing.wire.json.value import dump

logger = logging.getLogger(__name__)

MAX_CONCESSIONS = 3
MAX_CONTINUATIONS = 50


class UpstreamRequests:
    """Makes the request of each attempt, and what writes its answer. Both may change while the exchange runs.

    asked: what is asked now. upgraded: whether that is a stream although the client wants a whole answer.
    """

    def __init__(
        self,
        request: ClientRequest,
        translation: Translation | None,
        upstream: str,
        unsupported: Unsupported,
        *,
        upgrade: bool,
        longest: int,
    ) -> None:
        """
        translation: None where upstream speaks the client's dialect. upstream: its URL.
        longest: how many bytes an answer may have that is put together.
        Raises UntranslatableError.
        """
        self._concessions = 0
        self._continuations = 0
        self.translation = translation
        self._request = request
        self._upstream = upstream
        self._unsupported = unsupported
        self._upgrade = upgrade and not request.streams
        self._longest = longest
        self._so_far: Rewriting | None = None
        self.upgraded = False
        self.asked = self._make()

    @property
    def extra(self) -> int:
        """Attempts that were made only because upstream did not take something, or had more to say."""
        return self._concessions + self._continuations

    @property
    def continues(self) -> bool:
        """Whether the next answer goes on with what has been said before."""
        return self._so_far is not None

    @property
    def rewrites(self) -> bool:
        """Whether the client gets something else than what upstream sends."""
        return self.upgraded or self.translation is not None

    @property
    def in_words(self) -> tuple[str, ...]:
        """What there is to say of how upstream is asked, in words."""
        translated = (f"translated to {self.asked.dialect.label}",) if self.asked.translated else ()
        return (*translated, "as a stream") if self.upgraded else translated

    def keep_turn(self, attempt: Attempt, sent: dict[str, Any]) -> None:
        """Keep what the client can't give back of an answer that it got. sent: what upstream was asked."""
        if self.translation is None or attempt.writer is None:
            return
        try:
            self.translation.keep(attempt.account, attempt.writer, sent)
        except Exception:
            logger.exception("an answer's signatures could not be kept; this is a bug")

    @property
    def _without(self) -> frozenset[str]:
        return self._unsupported.of(self._upstream, self._request.route.model)

    def _make(self) -> UpstreamRequest:
        translation, without = self.translation, self._without
        asked = self._request.as_it_is() if translation is None else translation.asked(without)
        asked = replace(asked, without=without)
        stream = asked.as_stream() if self._upgrade and "stream" not in without else None
        self.upgraded = stream is not None
        asked = stream or asked
        if self._so_far is not None:
            value = {**asked.value, "continuationToken": self._so_far.continuation}
            asked = replace(asked, body=dump(value), value=value)
        return asked

    def writer(self, seed: str, *, whole: bool = False) -> Rewriting | None:
        """What writes an attempt's answer; None where the client gets what upstream sends.

        seed: what makes this attempt's ids unique. whole: as one answer, although the client wants a stream.
        """
        if not (self.rewrites or whole) or self.asked.operation.kind != "generate":
            return None
        if self._so_far is not None:
            going_on = copy.deepcopy(self._so_far)
            assert going_on.translator is not None
            going_on.translator.go_on()
            return going_on
        translator = self.translation.translator(seed) if self.translation is not None else None
        whole = whole or not self._request.streams
        own = self.asked.dialect if translator is not None else None
        return Rewriting(
            self._request.dialect,
            translator,
            whole=whole,
            framing=self._framing(),
            upstream=own,
            longest=self._longest,
        )

    def rewrite(self, attempt: Attempt) -> Rewriting | None:
        """Translate the whole answer of an attempt.

        Gives its writer, which has taken all of it; None where the client's answer is made already.
        Raises ValueError for what is no such answer.
        """
        assert self.translation is not None
        value = exact.parse(attempt.incoming.whole)
        if find_error(value):
            raise ValueError("it is an error")
        if self.asked.operation.kind != "generate":
            attempt.rewrite(self.translation.whole(value))
            return None
        writer = attempt.writer = self.writer(attempt.seed(self._request.id), whole=True)
        assert writer is not None
        for event in self.asked.dialect.events_of(value):
            writer.take_event(event)
        if not (writer.broken or writer.continuation):
            writer.end()
        return writer

    def framing(self) -> Framing:
        """How an event that ends the answer is told apart from what the client has got so far."""
        return copy.deepcopy(self._so_far.framing) if self._so_far is not None else self._framing()

    def _framing(self) -> Framing:
        return Framing(self._request.dialect, array=not self._request.operation.sse)

    def continue_after(self, writer: Rewriting) -> bool:
        """Upstream has more to say after what this writer has taken. False where there has been enough of that."""
        if self._continuations >= MAX_CONTINUATIONS:
            return False
        self._continuations += 1
        self._so_far = writer
        self.asked = self._make()
        return True

    def concede(self, attempt: Attempt, failure: Failure) -> str:
        """Leave out what upstream did not take: what is done, in words; "" where nothing helps."""
        if (
            failure.kind is not FailureClass.CALLER
            or attempt.incoming.error is None
            or self._concessions >= MAX_CONCESSIONS
        ):
            return ""
        if names := self._refused_on_vertex(attempt):
            return self._leave_out(*names, says=f"without {', '.join(names)}")
        used = self.translation.optional if self.translation is not None else ()
        if self.upgraded:
            used = (*used, STREAM)
        feature = refused_feature(attempt.incoming.error.text, self._without, used)
        if feature is None:
            return ""
        return self._leave_out(feature, says=next(each.says[feature] for each in used if feature in each.says))

    def _refused_on_vertex(self, attempt: Attempt) -> list[str]:
        """What Vertex AI did not take of a client that speaks the API as it is elsewhere, and can be left out."""
        form, error = form_at(attempt.account), attempt.incoming.error
        if form is None or error is None or self._request.vertex is not None or attempt.asked.translated:
            return []
        return [name for name in form.refused(error.text) if name not in attempt.asked.without]

    def _leave_out(self, *features: str, says: str) -> str:
        for feature in features:
            self._unsupported.add(self._upstream, self._request.route.model, feature)
        self._concessions += 1
        self.asked = self._make()
        return says
