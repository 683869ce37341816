"""What a dialect is: the questions that policy asks of a wire protocol, and the shapes of the answers."""

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, Protocol

from antigravity_healing.wire.conversation import Conversation
from antigravity_healing.wire.http.sse import SSEEvent
from antigravity_healing.wire.operation import Operation
from antigravity_healing.wire.rate_limits import RateLimits
from antigravity_healing.wire.reading import Collector, EmptyStop, EventReader, Reading
from antigravity_healing.wire.usage import AnswerTally
from antigravity_healing.wire.vertex import VertexForm

_NEVER = re.compile(r"(?!)")


class LateEnd(NamedTuple):
    """How an answer ends that fails after its beginning.

    broken: by breaking its connection; else as any other. pause_s: seconds between the last bytes and that.
    reset: whether the connection is reset, and does not merely end; with a pause only, as a reset may overtake bytes.
    """

    broken: bool
    pause_s: float = 0.0
    reset: bool = False


class Streamed(NamedTuple):
    """A request for a stream: its path, its query, its body and what that says."""

    path: str
    query: str
    body: bytes
    value: Any


class CredentialPlaces(NamedTuple):
    """Where an API's clients put what lets them in.

    headers: their names in lower case; the first is that of an API key. params: names of query parameters.
    """

    headers: tuple[str, ...]
    params: tuple[str, ...] = ()


class VertexVariables(NamedTuple):
    """Those in which they look for whether Vertex AI is to be asked, and for its project and location."""

    flag: str
    project: str
    location: str


class ClientVariables(NamedTuple):
    """The environment variables in which an API's clients look for things, the first before the others.

    keys: for an API key. tokens: for what goes as `Authorization: Bearer`. base_url: "" for none. vertex: those for
    Vertex AI, None for none.
    """

    keys: tuple[str, ...] = ()
    tokens: tuple[str, ...] = ()
    base_url: str = ""
    vertex: VertexVariables | None = None


class GenAI(NamedTuple):
    """How OpenTelemetry's GenAI conventions call an API: its provider, and the operation of generating."""

    provider: str
    operation: str


class ThingIds(NamedTuple):
    """How an API names the things that lie with one account: files, cached contents, batches, containers.

    id: matches where a text begins with an id (or a URL of it), which is its first group.
    in_segments: whether a path has ids as segments of their own, and not as the whole of it.
    request_signs, answer_signs: without one of these a conversation's request, or an answer, names nothing; most need
    not be walked through.
    event_signs, in_event: the same for an event of a stream, and what finds the ids in it; None: events name nothing.
    """

    id: re.Pattern[str] = _NEVER
    in_segments: bool = False
    request_signs: tuple[bytes, ...] = ()
    answer_signs: tuple[bytes, ...] = ()
    event_signs: tuple[bytes, ...] = ()
    in_event: re.Pattern[bytes] | None = None


class Dialect(Protocol):
    """A wire protocol. Stateless; a stream's state is in its EventReader."""

    @property
    def name(self) -> str:
        """As the configuration calls it."""

    @property
    def label(self) -> str:
        """As people call it."""

    @property
    def public_url(self) -> str:
        """The base URL of the public API, "" where there is none."""

    @property
    def endpoints(self) -> str:
        """What of it the proxy serves by itself, in words."""

    @property
    def base_path(self) -> str:
        """What a base URL ends with for clients that do not add the API's version by themselves, "" for none."""

    @property
    def credentials(self) -> CredentialPlaces:
        """Where clients put what lets them in."""

    @property
    def variables(self) -> ClientVariables:
        """The environment variables that its clients read."""

    @property
    def models_path(self) -> str:
        """Where upstream lists its models, for nothing; "" where it does not."""

    @property
    def flag_header(self) -> str:
        """The header that is a list of flags, each standing for itself: what is added joins them; "" for none."""

    @property
    def gen_ai(self) -> GenAI:
        """What traces call it."""

    @property
    def session_header(self) -> str:
        """The header in which clients call their conversation something, "" for none."""

    @property
    def things(self) -> ThingIds:
        """How it names what lies with one account."""

    @property
    def secret_signs(self) -> tuple[bytes, ...]:
        """Without one of these a request's body has no secrets."""

    @property
    def rate_limits(self) -> RateLimits:
        """What reads its rate-limit headers."""

    @property
    def conversation(self) -> Conversation:
        """What reads its requests and answers for people."""

    @property
    def answer_headers(self) -> str:
        """How the names of an answer's headers begin that are the API's own, "" where none are."""

    @property
    def pings(self) -> bool:
        """Whether a healthy stream says something now and then."""

    @property
    def arrays(self) -> bool:
        """Whether a stream may be one JSON array of what its events say."""

    @property
    def keep_alive(self) -> bytes:
        """What keeps a waiting client from giving up, without saying anything."""

    @property
    def required_headers(self) -> tuple[tuple[bytes, bytes], ...]:
        """Headers without which the API takes no request, for one whose client does not know them."""

    @property
    def logged_empty(self) -> str:
        """What the log says of an answer that is empty, "" for the failure's own words."""

    @property
    def end_marker(self) -> bytes:
        """The bare end that may be added when upstream sent its stop reason and then closed."""

    @property
    def vertex(self) -> VertexForm | None:
        """How it looks on Vertex AI; None where it is not served there."""

    def operation(self, method: str, path: str, query: Mapping[str, str]) -> Operation | None:
        """What a request to this path (without a prefix of its upstream) asks for; None if it is no endpoint."""

    def pointed_at(self, url: str, *, keyless: bool) -> str:
        """How a client of it is pointed at a base URL, in words. keyless: with a dummy, where it insists on a key."""

    def endpoint_like(self, path: str) -> str:
        """The healed endpoint that a lenient server may take a path for, as it is rightly written; "" if there is none.

        path: as `paths.plain` gives it.
        """

    def meant(self, method: str, path: str, headers: Mapping[str, str]) -> str:
        """The endpoint that a client means whose base URL lacks the API's version or has too much.

        "" where that is not clear, or where this path is the right one.
        """

    def is_native(self, headers: Mapping[str, str]) -> bool:
        """Whether these headers are as the clients of this API alone send them."""

    def claims(self, path: str, headers: Mapping[str, str], query: Mapping[str, str]) -> bool:
        """Whether a request that is no known endpoint belongs to this dialect's API all the same."""

    def model_of(self, operation: Operation, body: Any) -> str:
        """The model that is asked for, "" if none."""

    def with_model(self, path: str, body: bytes, operation: Operation, model: str) -> tuple[str, bytes]:
        """Path and body of the same request for another model. Raises ValueError where it can't be said."""

    def stated_session(self, body: Any) -> str:
        """What the client itself calls its conversation or its user, "" where it does not."""

    def session_of(self, body: Any) -> str | None:
        """A key that stays the same through a conversation; None where the body gives none."""

    def reader(self, asked: Any = None) -> EventReader:
        """A reader for a new stream. asked: what the body of its request says."""

    def read_answer(self, body: Any) -> Reading:
        """Understand a whole answer that came as JSON."""

    def content_of(self, answer: Any) -> list[dict[str, Any]]:
        """The blocks or parts of a whole answer that came as JSON."""

    def answer_tally(self) -> AnswerTally:
        """What takes down what a new answer tells of itself."""

    def longest_answer(self, body: Any) -> int | None:
        """How many tokens the answer to a request may have, as its body says; None where it says nothing."""

    def empty_stop(self, stop: str) -> EmptyStop:
        """What this stop reason means on an answer without content."""

    def broken_stop(self, stop: str) -> bool:
        """Whether this stop reason says that the answer is no good, whatever it has."""

    def too_long(self, limit: str, count: str) -> str:
        """That a prompt has more tokens than this limit, worded as agents look for it to make it shorter.

        count: how many it has, "" if that is not known.
        """

    def clean(self, event: SSEEvent, reading: Reading) -> bytes:
        """The event as this dialect's clients bear it: as it came, unless it came oddly; b"" to leave it out."""

    def fitting_status(self, status: int) -> int:
        """The status of this dialect's error types that is nearest to this one: 502 is nobody's."""

    def error_body(self, status: int, message: str, retry_after_s: float | None = None) -> bytes:
        """An error of our own in this dialect's shape, as JSON; with seconds to wait where the shape has a place."""

    def late_error(self, status: int, message: str) -> bytes:
        """An error of our own after the start of a stream, in the form that this dialect's SDKs raise."""

    def cut_off(self, status: int, message: str) -> bytes:
        """The last bytes of an answer that upstream did not end, before its connection is broken; b"" for none."""

    def late_end(self, *, said: bool) -> LateEnd:
        """How an answer ends that has content and fails. said: whether upstream said so itself, and that was told."""

    def shaped(self, error: Any) -> dict[str, Any]:
        """An upstream's error in this dialect's shape; one that has it stays as it is."""

    def relayed_error(self, error: Any, event: SSEEvent | None = None) -> bytes:
        """An upstream's error, in the form that this dialect's SDKs raise after a stream's start.

        event: the event that it came in, if any: what came in the right form stays as it is.
        """

    def with_models(self, body: Any, names: list[str]) -> Any:
        """An upstream's model list with these names added."""

    def model_list(self, names: list[str]) -> Any:
        """A model list with these names and no others."""

    def encode(self, event: dict[str, Any]) -> bytes:
        """An event that says this, as it stands in a stream."""

    def collector(self, longest: int) -> Collector:
        """A collector for a new stream, of answers with about so many bytes at most."""

    def events_of(self, answer: Any) -> Iterable[dict[str, Any]]:
        """A whole answer as what the events of a stream would have said. Raises ValueError where it is none."""

    def streamed(self, path: str, query: str, body: bytes, value: Any) -> Streamed | None:
        """The same request for a stream instead of a whole answer; None where a stream would not give the same.

        Raises ValueError for a body that is no JSON object.
        """
