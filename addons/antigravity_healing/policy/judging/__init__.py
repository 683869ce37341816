"""What came of an attempt: failures, and whether an answer is one."""
