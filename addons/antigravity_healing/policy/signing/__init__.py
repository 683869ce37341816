"""What conversations leave behind: signatures and turns, and how lost ones are repaired."""
