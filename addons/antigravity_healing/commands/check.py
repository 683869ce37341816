"""`antigravity check`: whether each account can be used, found out by one free call, for a list of models."""

import argparse
import asyncio
import sys
import time
from pathlib import Path
from typing import NamedTuple

from mitmproxy import http

from antigravity_healing import DISTRIBUTION
from antigravity_healing.commands.asking import Answer, NoAnswerError, ask
from antigravity_healing.policy.exchange.placing import form_of, lacks_project
from antigravity_healing.policy.journal.findings import WORDS
from antigravity_healing.policy.journal.records import AttemptFacts
from antigravity_healing.policy.judging.failures import FailureClass, classify, shortened
from antigravity_healing.policy.settings import file as config_file
from antigravity_healing.policy.settings.schema import AccountSettings, Config, Upstream
from antigravity_healing.proxy.configuration import find, looked_for
from antigravity_healing.proxy.secrets.credentials import CredentialError, Credentials
from antigravity_healing.proxy.secrets.seal import Seal
from antigravity_healing.wire.dialect import Dialect
from antigravity_healing.wire.dialects import DIALECTS
from antigravity_healing.wire.errors.parsing import parse_error
from antigravity_healing.wire.json.value import parse
from antigravity_healing.wire.operation import Operation
from antigravity_healing.wire.vertex import PlainRequest, VertexPlace

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
    parser.description = "Reads the configuration as the proxy does, and asks with each account for a list of models."
    parser.add_argument("--file", metavar="F", default="", help="the configuration; default: where the proxy looks")
    parser.set_defaults(run=lambda given: run(given.file))


def run(option: str) -> int:
    """Check and print, and give the exit status. option: the configuration file, "" for where the proxy looks."""
    try:
        path = find(option)
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
    headers = http.Headers((*dialect.required_headers, (b"User-Agent", DISTRIBUTION.encode())))
    request = seal.on(http.Request.make("GET", upstream.url + _models_target(dialect, upstream), headers=headers))
    try:
        answer = await ask(upstream, request)
    except NoAnswerError as error:
        return _in_words(account, upstream, FailureClass.TRANSPORT, str(error))
    return _judged(account, upstream, seal, answer, config.retry.grace)


def _models_target(dialect: Dialect, upstream: Upstream) -> str:
    """The path of the list of models, as the upstream has it."""
    if (form := form_of(upstream)) is None:
        return dialect.models_path
    request = PlainRequest(dialect.models_path, b"", None)
    place = VertexPlace(upstream.project or "", upstream.location or "")
    return form.on_vertex(request, "", Operation("list_models"), place, model="").path


def _judged(account: AccountSettings, upstream: Upstream, seal: Seal, answer: Answer, grace_s: float) -> Checked:
    if answer.status == 200 and _is_object(answer.body):
        return Checked()
    failure = classify(answer.status, answer.headers, parse_error(answer.body), grace_s=grace_s, wall_s=time.time())
    detail = shortened(seal.redact_text(failure.detail), _LONGEST_TOLD)
    if answer.status < 400 or failure.kind in _OFF_THE_POINT:
        told = f"not known: {upstream.url} gives no list of models, its key may be good all the same: {detail}"
        return Checked(told, f"check the url of upstream {account.upstream}, or send a request through the proxy")
    return _in_words(account, upstream, failure.kind, detail)


def _is_object(body: bytes) -> bool:
    try:
        return isinstance(parse(body), dict)
    except ValueError:
        return False


def _in_words(account: AccountSettings, upstream: Upstream, kind: FailureClass, detail: str) -> Checked:
    facts = AttemptFacts(
        1, account.name, account.upstream, "", time.time(), place=account.place, url=upstream.url, failure=kind,
        detail=detail, key_from=account.key_from,
    )  # fmt: skip
    return Checked(WORDS[kind].what(facts), WORDS[kind].do((facts,)))
