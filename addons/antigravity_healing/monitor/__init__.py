"""What people look at: log, captured failures, replays, health. Nothing below imports it."""
