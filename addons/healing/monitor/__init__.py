"""What happened, for people. Reads the journal; nothing else imports it."""
