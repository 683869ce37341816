"""One dialect in another: requests there, answers back."""
