import io
import logging

from antigravity_healing.proxy.internals.terminal_log import filter_terminal, is_set
from mitmproxy.addons.termlog import TermLog
from mitmproxy.options import Options


def test_what_is_not_to_be_shown_is_not_printed() -> None:
    out = io.StringIO()
    termlog = TermLog(out)
    try:
        filter_terminal(termlog, lambda record: record.name != "hidden")
        for name in ("shown", "hidden"):
            termlog.logger.handle(logging.makeLogRecord({"name": name, "levelno": logging.INFO, "msg": name}))
    finally:
        termlog.uninstall()
    assert "shown" in out.getvalue()
    assert "hidden" not in out.getvalue()


def test_an_option_is_set_once_somebody_sets_it_if_only_to_its_default() -> None:
    options = Options()
    assert not is_set(options, "listen_port")
    options.update(listen_port=options.listen_port)
    assert is_set(options, "listen_port")
    options.reset()
    assert not is_set(options, "listen_port")
