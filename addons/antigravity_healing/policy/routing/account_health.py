"""How an account is: what keeps it, or one model on it, from being preferred, and until when."""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field

MOST_MODELS = 256
"""Models of one account that are kept away: what is named in requests must not fill the memory."""
MOST_BENCHES = 16
"""Of one model on one account."""
_PROBED_FROM_S = 3600.0


@dataclass(slots=True, eq=False)
class Bench:
    """Why an account, or one model on it, is not preferred until `until`. Times are monotonic seconds.

    cause: what for: what upstream says for one reason does not take back what it said for another.
    hard: upstream itself said how long: asking earlier is pointless, but for a probe now and then of a long one, and
    then it is over. What is our own caution is over when a request has found so.
    probe_at: from then on one request finds out whether it is still meant.
    detail: the reason, in upstream's words alone.
    """

    cause: str
    until: float
    hard: bool
    reason: str
    probe_at: float
    detail: str = ""


def bench(
    now: float, seconds: float, cause: str, reason: str, *, hard: bool, probe_s: float, detail: str = ""
) -> Bench:
    """A bench that begins now. probe_s: seconds after which a long one is probed."""
    until = now + seconds
    return Bench(cause, until, hard, reason, now + probe_s if hard and seconds > _PROBED_FROM_S else until, detail)


@dataclass(slots=True, eq=False)
class Health:
    """One account's state.

    strikes: failures in a row; benched: how many benches they have led to.
    used: attempts so far; level: the same by its weight, as `least_used` sees it; turn: for `round_robin`.
    active: attempts under way.
    """

    strikes: int = 0
    benched: int = 0
    used: int = 0
    level: float = 0.0
    turn: float = 0.0
    active: int = 0
    _benches: dict[str, list[Bench]] = field(default_factory=dict)
    """By model; "" is the whole account."""

    def benches(self, now: float) -> Iterator[tuple[str, Bench]]:
        """What keeps models away now, with the model; "" is the whole account."""
        return ((model, each) for model, benches in self._benches.items() for each in benches if each.until > now)

    def not_over(self, now: float) -> Iterator[tuple[str, Bench]]:
        """The same, with what is yet to be found over."""
        held = ((model, each) for model, benches in self._benches.items() for each in benches)
        return ((model, each) for model, each in held if not (each.hard and each.until <= now))

    def known(self, model: str, now: float) -> tuple[Bench, ...]:
        """What keeps this model away, or is yet to be found over."""
        found = (each for key in {"", model} for each in self._benches.get(key, ()))
        return tuple(each for each in found if not (each.hard and each.until <= now))

    def bench_for(self, cause: str) -> Bench | None:
        """What keeps the whole account away for this cause, the latest."""
        return next((each for each in reversed(self._benches.get("", ())) if each.cause == cause), None)

    def cooling_until(self, model: str, now: float) -> float:
        """When upstream lets this model be asked again, 0 if it has not forbidden it."""
        return max((found.until for found in self.known(model, now) if found.hard), default=0.0)

    def free(self, model: str, now: float) -> bool:
        """Whether nothing keeps this model away, or it is time to find out whether anything still does."""
        return all(found.probe_at <= now for found in self.known(model, now))

    def put(self, model: str, new: Bench, known: Collection[Bench] = ()) -> None:
        """Keep a model away, "" for the whole account. Where there are too many, the first to end makes room.

        known: what there was when the request began that found this out: for the same cause it knows better. What was
        found out meanwhile, and for another cause, holds beside it.
        """
        benches = self._benches[model] = [
            old
            for old in self._benches.get(model, ())
            if old.cause != new.cause or not (old in known or (old.hard == new.hard and old.until <= new.until))
        ]
        benches.append(new)
        if len(benches) > MOST_BENCHES:
            benches.remove(min(benches, key=_until))
        models = self._benches.keys() - {""}
        if len(models) > MOST_MODELS:
            del self._benches[min(models, key=lambda each: max(map(_until, self._benches[each])))]

    def release(self, model: str, known: Collection[Bench]) -> None:
        """End what keeps this model and the whole account away, as far as it was known when this was found out."""
        for key in {"", model}:
            if left := [each for each in self._benches.pop(key, ()) if each not in known]:
                self._benches[key] = left

    def reset(self) -> None:
        """Forget all that keeps models away. What is under way goes on."""
        self._benches.clear()
        self.strikes = self.benched = 0

    def begin_probe(self, known: Iterable[Bench], now: float, probe_s: float) -> tuple[Bench, ...]:
        """One request finds out, and has so many seconds for it; gives what it finds out about."""
        due = tuple(found for found in known if found.probe_at <= now)
        for found in due:
            found.probe_at = now + probe_s
        return due

    def end_probe(self, probed: Iterable[Bench], now: float, *, judged: bool) -> None:
        """The probe is over. If it has found nothing out, or the bench has had its time, the next may begin."""
        for found in probed:
            if not judged or found.until <= now:
                found.probe_at = now


def _until(bench: Bench) -> float:
    return bench.until
