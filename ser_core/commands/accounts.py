"""accounts: who may sign in where Attune is shared (app.py --shared)."""

import getpass
import json
import sys
from argparse import SUPPRESS, ArgumentParser, Namespace

from ser_core.commands.agreeing import confirm
from ser_core.inference.accounts import Account, Accounts, BadAccount
from ser_core.workspace import open_workspace


def add_arguments(parser: ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    for name, help_text in (
        ("list", "all accounts"),
        ("add", "make an account; the password is asked for"),
        ("password", "give an account another password; whoever is signed in has to sign in again"),
        ("delete", "erase an account and all of its profiles"),
    ):
        action = actions.add_parser(name, help=help_text)
        if name != "list":
            action.add_argument("name", metavar="NAME")
        if name in ("add", "password"):
            action.add_argument("--password-stdin", action="store_true", help="read the password from standard input")
        if name == "delete":
            action.add_argument("--yes", action="store_true", help="do not ask")
        action.add_argument("--json", action="store_true")
        action.add_argument("--workspace", metavar="DIR", default=SUPPRESS)  # here or before the action


def run(arguments: Namespace) -> int:
    """Do one action."""
    accounts = Accounts(open_workspace(arguments.workspace))
    found, words = _ACTIONS[arguments.action](accounts, arguments)
    if arguments.json:
        print(json.dumps([_shown(account) for account in found], ensure_ascii=False))
    else:
        print(words)
    return 0


def _shown(account: Account) -> dict:
    return {"name": account.name, "created": account.created, "n_profiles": account.n_profiles}


def _list(accounts: Accounts, _arguments: Namespace) -> tuple[list[Account], str]:
    found = accounts.list()
    lines = [f"{one.name}: {_profiles(one)}, made {one.created}" for one in found]
    return found, "\n".join(lines) or "no account yet: make one with 'accounts add NAME'"


def _add(accounts: Accounts, arguments: Namespace) -> tuple[list[Account], str]:
    made = accounts.add(arguments.name, _password(arguments.password_stdin))
    return [made], f"made the account {made.name}"


def _change(accounts: Accounts, arguments: Namespace) -> tuple[list[Account], str]:
    accounts.get(arguments.name)  # before a password is asked for
    changed = accounts.change(arguments.name, _password(arguments.password_stdin))
    return [changed], f"{changed.name} has another password"


def _delete(accounts: Accounts, arguments: Namespace) -> tuple[list[Account], str]:
    account = accounts.get(arguments.name)
    confirm(f"Erase the account {account.name} and its {_profiles(account)} for ever?", arguments.yes)
    gone = accounts.delete(arguments.name)
    return [gone], f"erased the account {gone.name} and its {_profiles(gone)}"


def _profiles(account: Account) -> str:
    return f"{account.n_profiles} profile{'' if account.n_profiles == 1 else 's'}"


def _password(from_stdin: bool) -> str:
    if from_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    if not sys.stdin.isatty():
        raise BadAccount("nobody is there to be asked for a password; give --password-stdin")
    password = getpass.getpass("Password: ")
    if getpass.getpass("Again: ") != password:
        raise BadAccount("the two passwords differ; nothing was changed")
    return password


_ACTIONS = {"list": _list, "add": _add, "password": _change, "delete": _delete}
