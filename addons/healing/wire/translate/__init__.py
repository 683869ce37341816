"""One dialect in the other: requests there, answers back."""
