"""Where things are."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
ADDON = ROOT / "addons" / "antigravity.py"
"""What `-s` loads."""
