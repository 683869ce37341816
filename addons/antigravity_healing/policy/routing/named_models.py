"""Whether an account may serve what a request names."""

from dataclasses import dataclass

from antigravity_healing.policy.routing.accounts import Account


@dataclass(frozen=True, slots=True)
class Named:
    """What a request says of the models that it wants.

    models: all that it names, after mapping; "" where it had to name one and did not.
    doubt: why that is not certain, in words; "" if it is.
    """

    models: tuple[str, ...] = ()
    doubt: str = ""

    def fits(self, account: Account) -> bool:
        """Whether the account may serve all of them."""
        return takes_all(account) or all(model and account.serves(model) for model in self.models)


def takes_all(account: Account) -> bool:
    """Whether an account may serve every model, named or not."""
    return "*" in account.models
