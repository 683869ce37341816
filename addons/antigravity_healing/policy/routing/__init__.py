"""Where a request goes: routes, accounts, and what lies with one account only."""
