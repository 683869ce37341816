"""Another machine, as far as the network can tell: a network namespace, wired to this one."""

import os
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True)
class Elsewhere:
    """A machine on the network of this one.

    here: this machine's address on that network, there: the other one's. link_local: one more address of this machine.
    """

    here: str
    there: str
    link_local: str
    _pool: ThreadPoolExecutor

    def run[T](self, what: Callable[[], T]) -> T:
        """Call a function there: the sockets that it makes are that machine's."""
        return self._pool.submit(what).result()


@contextmanager
def elsewhere() -> Iterator[Elsewhere]:
    """Make the namespace, and take it away again. Skips where that can't be done."""
    number = os.getpid() % 250 + 1
    name, link = f"ah{os.getpid()}", f"ah{os.getpid() % 1_000_000}"
    here, there, link_local = f"10.213.{number}.1", f"10.213.{number}.2", f"169.254.213.{number}"
    try:
        _ip("netns", "add", name)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no network namespace can be made here: {getattr(error, 'stderr', '') or error}")
    try:
        try:
            _ip("link", "add", f"{link}a", "type", "veth", "peer", "name", f"{link}b", "netns", name)
        except subprocess.CalledProcessError as error:
            pytest.skip(f"namespaces can't be wired here: {error.stderr}")
        _ip("addr", "add", f"{here}/24", "dev", f"{link}a")
        _ip("addr", "add", f"{link_local}/32", "dev", f"{link}a")
        _ip("link", "set", f"{link}a", "up")
        _ip("-n", name, "addr", "add", f"{there}/24", "dev", f"{link}b")
        _ip("-n", name, "link", "set", f"{link}b", "up")
        _ip("-n", name, "link", "set", "lo", "up")
        with ThreadPoolExecutor(8, initializer=_enter, initargs=(Path("/run/netns") / name,)) as pool:
            yield Elsewhere(here, there, link_local, pool)
    finally:
        _ip("netns", "del", name)


def _enter(namespace: Path) -> None:
    descriptor = os.open(namespace, os.O_RDONLY)
    try:
        os.setns(descriptor, os.CLONE_NEWNET)
    finally:
        os.close(descriptor)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)
