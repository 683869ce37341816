"""`python -m antigravity_healing.commands` is the command `antigravity`."""

import sys

from antigravity_healing.commands.main import main

if __name__ == "__main__":
    sys.exit(main())
