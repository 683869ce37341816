"""How an account is: what keeps it, or one model on it, from being preferred, and until when."""

from collections.abc import Iterable
from dataclasses import dataclass, field

MOST_MODELS = 256
"""Models of one account that are kept away: what is named in requests must not fill the memory."""
_PROBED_FROM_S = 3600.0


@dataclass(slots=True)
class Bench:
    """Why an account, or one model on it, is not preferred until `until`. Times are monotonic seconds.

    hard: upstream itself said how long: asking earlier is pointless, but for a probe now and then of a long one.
    probe_at: from then on one request finds out whether it is still meant.
    """

    until: float
    hard: bool
    reason: str
    probe_at: float


def bench(now: float, seconds: float, reason: str, *, hard: bool, probe_s: float) -> Bench:
    """A bench that begins now. probe_s: seconds after which a long one is probed."""
    until = now + seconds
    return Bench(until, hard, reason, now + probe_s if hard and seconds > _PROBED_FROM_S else until)


@dataclass(slots=True)
class Health:
    """One account's state.

    strikes: failures in a row; benched: how many benches they have led to.
    used, turn: for the strategies; active: attempts under way.
    """

    strikes: int = 0
    benched: int = 0
    used: float = 0.0
    turn: float = 0.0
    active: int = 0
    benches: dict[str, Bench] = field(default_factory=dict)
    """By model; "" is the whole account."""

    def _for(self, model: str) -> list[Bench]:
        return [found for key in {"", model} if (found := self.benches.get(key))]

    def benched_until(self, model: str) -> float:
        """When the last bench that keeps this model away is over, 0 if there is none."""
        return max((found.until for found in self._for(model)), default=0.0)

    def cooling_until(self, model: str, now: float) -> float:
        """When upstream lets this model be asked again, 0 if it has not forbidden it."""
        return max((found.until for found in self._for(model) if found.hard and found.until > now), default=0.0)

    def free(self, model: str, now: float) -> bool:
        """Whether nothing keeps this model away, or it is time to find out whether anything still does."""
        return all(found.probe_at <= now for found in self._for(model))

    def put(self, model: str, new: Bench) -> None:
        """Keep a model away, "" for the whole account. Where there are too many, the first to end makes room."""
        self.benches[model] = new
        models = self.benches.keys() - {""}
        if len(models) > MOST_MODELS:
            del self.benches[min(models, key=lambda each: self.benches[each].until)]

    def begin_probe(self, model: str, now: float, probe_s: float) -> tuple[str, ...]:
        """One request finds out, and has so many seconds for it; gives what it finds out about."""
        keys = tuple(key for key in {"", model} if key in self.benches and self.benches[key].probe_at <= now)
        for key in keys:
            self.benches[key].probe_at = now + probe_s
        return keys

    def end_probe(self, keys: Iterable[str], now: float, *, judged: bool) -> None:
        """The probe is over. If it has found nothing out, or the bench has had its time, the next may begin."""
        for key in keys:
            found = self.benches.get(key)
            if found is not None and (not judged or found.until <= now):
                found.probe_at = now
