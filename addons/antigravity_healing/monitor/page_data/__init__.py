"""What the page shows beside what goes on now: exchanges that are over, their flows, and what was captured."""
