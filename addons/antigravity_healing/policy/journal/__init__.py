"""What happened, told once, and what it means for a person."""
