"""mitmweb's flow list: it shows what became of each flow, which stands in its comment."""

from mitmproxy import ctx

from antigravity_healing.proxy.internals.terminal_log import is_set

_COLUMNS, _COMMENT = "web_columns", "comment"


class FlowList:
    """Adds the column of comments, unless the user has chosen columns."""

    def running(self) -> None:
        """mitmweb's options are known by now."""
        if _COLUMNS in ctx.options and not is_set(ctx.options, _COLUMNS):
            shown = list(getattr(ctx.options, _COLUMNS))
            if _COMMENT not in shown:
                at = shown.index("path") + 1 if "path" in shown else len(shown)
                ctx.options.update(**{_COLUMNS: [*shown[:at], _COMMENT, *shown[at:]]})
