"""The request log: a row for each exchange and each attempt in a database, and what reads it again."""
