"""Whether an account may serve what a request names."""

from dataclasses import dataclass

from antigravity_healing.policy.routing.routes import any_matches


@dataclass(frozen=True, slots=True)
class Named:
    """What a request says of the models that it wants.

    models: all that it names, after mapping; "" where it had to name one and did not.
    doubt: why that is not certain, in words; "" if it is.
    """

    models: tuple[str, ...] = ()
    doubt: str = ""

    def fits(self, patterns: tuple[str, ...]) -> bool:
        """Whether an account with these models may serve all of them."""
        if takes_all(patterns):
            return True
        return all(model and any_matches(patterns, model) for model in self.models)


def takes_all(patterns: tuple[str, ...]) -> bool:
    """Whether an account with these models may serve every model, named or not."""
    return "*" in patterns
