"""`antigravity check`: whether each account can be used, found out by a free call: mostly for a list of models."""

import argparse
import asyncio
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from mitmproxy import http

from antigravity_healing import DISTRIBUTION
from antigravity_healing.commands.asking import Answer, NoAnswerError, ask
from antigravity_healing.commands.vertex_check import VertexCheck
from antigravity_healing.policy.exchange.placing import lacks_project
from antigravity_healing.policy.journal.findings import WORDS
from antigravity_healing.policy.journal.records import AttemptFacts
from antigravity_healing.policy.judging.failures import Failure, FailureClass, classify, shortened
from antigravity_healing.policy.settings import file as config_file
from antigravity_healing.policy.settings.schema import AccountSettings, Config, Upstream
from antigravity_healing.proxy.configuration import find, looked_for
from antigravity_healing.proxy.secrets.credentials import CredentialError, Credentials
from antigravity_healing.proxy.secrets.seal import Seal
from antigravity_healing.wire.dialects import DIALECTS
from antigravity_healing.wire.errors.parsing import parse_error
from antigravity_healing.wire.json.value import parse

_STATUSES = "exit status: 0 if all accounts can be used, 1 if not, 2 if the configuration can't be read"
_LONGEST_TOLD = 300
# Of a list of models they say nothing about the key.
_OFF_THE_POINT = (FailureClass.CALLER, FailureClass.NO_MODEL, FailureClass.NOT_THEIRS)


class Checked(NamedTuple):
    """How an account is. told: why it can't be used, "" if it can. do: what to do about that."""

    told: str = ""
    do: str = ""


def add_to(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add it to a command line."""
    parser = commands.add_parser("check", help="check the configuration and each account's key", epilog=_STATUSES)
    parser.description = (
        "Reads the configuration as the proxy does, and makes a free call with each account: for a list of models, on "
        "Vertex AI for a count of tokens in the account's project."
    )
    parser.add_argument("--file", metavar="F", default="", help="the configuration; default: where the proxy looks")
    parser.set_defaults(run=lambda given: run(given.file), parser=parser)


def run(option: str) -> int:
    """Check and print, and give the exit status. option: the configuration file, "" for where the proxy looks."""
    try:
        path = find(option, "--file")
        if path is None:
            print(f"No configuration: {looked_for()}. `antigravity init` writes one.", file=sys.stderr)
            return 2
        config = config_file.load(path)
    except config_file.ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    return print_checks(path, config)


def print_checks(path: Path, config: Config) -> int:
    """Check the accounts of a configuration, print a line for each, and give the exit status."""
    print(f"{path}:")
    for warning in config_file.exposed(path, config) + config_file.misread(config):
        print(f"  warning: {warning}")
    if not config.accounts:
        print("  no accounts: clients' own keys are used")
    checked = asyncio.run(_check_all(config))
    for account, found in zip(config.accounts, checked, strict=True):
        told = f"NOT USABLE: {found.told} | TO DO: {found.do}" if found.told else "usable"
        print(f"  {account.name} ({account.upstream}): {told}")
    return 1 if any(found.told for found in checked) else 0


async def _check_all(config: Config) -> list[Checked]:
    credentials = Credentials(lambda: config.limits)
    try:
        return await asyncio.gather(*(_check(credentials, config, account) for account in config.accounts))
    finally:
        credentials.close()


async def _check(credentials: Credentials, config: Config, account: AccountSettings) -> Checked:
    upstream = config.upstream_of(account)
    dialect = DIALECTS[upstream.dialect]
    try:
        seal = await credentials.fetch(account, dialect.name)
    except CredentialError as error:
        return Checked(f"it has no key: {error}", f"mend what it says ({account.place})")
    if not dialect.models_path:
        return Checked("not known: its API lists no models", "send a request through the proxy")
    if lacks_project(upstream, keyed=account.api_key is not None):
        told = f"upstream {account.upstream} is Vertex AI and names no project"
        return Checked(told, f"give it, or the account, a project ({account.place})")

    async def asked(method: str, path: str, query: str = "", body: bytes = b"") -> Answer:
        url = upstream.url.removesuffix(upstream.path) + upstream.whole(path) + (f"?{query}" if query else "")
        headers = http.Headers((*dialect.required_headers, (b"User-Agent", DISTRIBUTION.encode())))
        if body:
            headers["Content-Type"] = "application/json"
        return await ask(upstream, seal.on(http.Request.make(method, url, body, headers)))

    judged = Judged(account, upstream, seal, config.retry.grace)
    vertex = VertexCheck(config, account, lambda method, sent: asked(method, *sent), judged.failure)
    try:
        if not upstream.on_vertex:
            return judged.of_list(await asked("GET", dialect.models_path))
        found = await vertex.refusal()
    except NoAnswerError as error:
        gone = judged.in_words(Failure(FailureClass.TRANSPORT, str(error)))
        return gone._replace(do=f"check the network, and {vertex.where}") if upstream.on_vertex else gone
    if isinstance(found, Failure):
        return judged.in_words(found)
    return Checked(*found) if found else Checked()


class Judged(NamedTuple):
    """What answers to one account mean."""

    account: AccountSettings
    upstream: Upstream
    seal: Seal
    grace_s: float

    def failure(self, answer: Answer) -> Failure:
        """What an answer that is no success means; its detail is for people, without the key."""
        error = parse_error(answer.body)
        failure = classify(answer.status, answer.headers, error, grace_s=self.grace_s, wall_s=time.time())
        return replace(failure, detail=shortened(self.seal.redact_text(failure.detail), _LONGEST_TOLD))

    def of_list(self, answer: Answer) -> Checked:
        """What the answer to a request for the list of models tells of the account."""
        if answer.status == 200 and _is_object(answer.body):
            return Checked()
        failure, name, url = self.failure(answer), self.account.upstream, self.upstream.url
        if answer.status < 400 or failure.kind in _OFF_THE_POINT:
            told = f"not known: {url} gives no list of models, its key may be good all the same: {failure.detail}"
            return Checked(told, f"check the url of upstream {name}, or send a request through the proxy")
        return self.in_words(failure)

    def in_words(self, failure: Failure) -> Checked:
        """A failure as the proxy's log tells it."""
        facts = AttemptFacts(
            1, self.account.name, self.account.upstream, "", time.time(), place=self.account.place,
            url=self.upstream.url, failure=failure.kind, detail=failure.detail, key_from=self.account.key_from,
        )  # fmt: skip
        return Checked(WORDS[failure.kind].what(facts), WORDS[failure.kind].do((facts,)))


def _is_object(body: bytes) -> bool:
    try:
        return isinstance(parse(body), dict)
    except ValueError:
        return False
