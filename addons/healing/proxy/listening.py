"""Where the proxy listens: on this machine only, unless somebody says otherwise."""

import asyncio

from mitmproxy.addons.proxyserver import Proxyserver
from mitmproxy.options import Options
from mitmproxy.proxy.mode_specs import ProxyMode, TransparentMode, WireGuardMode

LOOPBACK = "127.0.0.1"

# What these are for comes from other machines, or to whatever address it was meant for.
_WIDE = (TransparentMode, WireGuardMode)


def listen_here(options: Options, proxyserver: Proxyserver) -> bool:
    """Make loopback the default listen address. `listen_host`, and a mode's own host, stay as they are set.

    mitmproxy loads scripts while it already begins to listen. Where that is so, it is stopped before it does, and True
    given: `proxyserver.setup_servers()` has to be called again.
    """
    if options.has_changed("listen_host"):
        return False
    try:
        modes = [_kept_wide(ProxyMode.parse(spec), options.listen_port) for spec in options.mode]
    except ValueError:
        return False  # mitmproxy tells what is wrong with it, and ends
    options.update(listen_host=LOOPBACK)
    if modes != list(options.mode):
        options.update(mode=modes)
    code = Proxyserver.setup_servers.__code__
    setting_up = [task for task in asyncio.all_tasks() if getattr(task.get_coro(), "cr_code", None) is code]
    for task in setting_up:
        task.cancel()
    if setting_up:
        # They never began, and would be taken for such as have.
        proxyserver.servers._instances = {}
    return bool(setting_up)


def _kept_wide(mode: ProxyMode, default_port: int | None) -> str:
    """A mode's spec; one that needs all addresses says so, as the default does not any more."""
    if not isinstance(mode, _WIDE) or mode.custom_listen_host is not None:
        return mode.full_spec
    what = mode.full_spec if mode.custom_listen_port is None else mode.full_spec.rpartition("@")[0]
    return f"{what}@:{mode.listen_port(default_port)}"
