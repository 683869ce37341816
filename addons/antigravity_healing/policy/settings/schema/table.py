"""What all tables of the file have in common."""

from pydantic import BaseModel, ConfigDict


class Table(BaseModel):
    """A table of the file: with no other keys than these, and never changed."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)
