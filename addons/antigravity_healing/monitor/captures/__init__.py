"""Failed exchanges, kept in files and replayed."""
