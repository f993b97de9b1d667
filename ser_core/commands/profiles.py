"""profiles: what is stored, and how to get rid of it."""

import json
from argparse import SUPPRESS, ArgumentParser, Namespace
from dataclasses import asdict
from pathlib import Path

from ser_core.commands.agreeing import add_agree_argument, ask_for_consent, confirm
from ser_core.data.whole import written
from ser_core.inference.accounts import Accounts
from ser_core.inference.archives import BadArchive
from ser_core.inference.database import Database, open_database
from ser_core.inference.moving import move
from ser_core.inference.profiles import Profile, ProfileStore, check_days, expire_unused, open_store
from ser_core.inference.sealing import make_key, read_key
from ser_core.workspace import Workspace, open_workspace


def add_arguments(parser: ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    for name, help_text, files in (
        ("list", "all profiles", ()),
        ("show", "one profile's recordings", ("name",)),
        ("delete", "erase a profile with every trace of it", ("name",)),
        ("rename", "give a profile another name", ("name", "new_name")),
        ("export", "write a profile into a zip", ("name", "file")),
        ("import", "read a profile from a zip", ("file",)),
        ("expire", "erase every profile that nobody used for many days, of all accounts", ()),
        ("new-key", "make a key to encrypt recordings with", ("file",)),
        ("move", "copy all profiles and accounts to another place, encrypted or not; stop Attune before", ()),
    ):
        action = actions.add_parser(name, help=help_text)
        for argument in files:
            action.add_argument(argument, metavar=argument.upper())
        if name == "import":
            action.add_argument("--name", help="under another name")
            add_agree_argument(action)
        if name == "expire":
            action.add_argument("--days", type=int, required=True, metavar="N", help="without use; at least 1")
        if name == "move":
            action.add_argument("--to", required=True, metavar="WHERE", help="a new file, or postgresql://…")
            action.add_argument("--to-key", metavar="FILE", help="encrypt it with this key, made by new-key")
        if name in ("delete", "expire"):
            action.add_argument("--yes", action="store_true", help="do not ask")
        action.add_argument("--json", action="store_true")
        action.add_argument("--workspace", metavar="DIR", default=SUPPRESS)  # here or before the action


def run(arguments: Namespace) -> int:
    """Do one action."""
    if arguments.action in _ON_ALL:
        return _ON_ALL[arguments.action](open_workspace(arguments.workspace), arguments)
    store = open_store(open_workspace(arguments.workspace))
    return _ACTIONS[arguments.action](store, arguments)


def _expire(workspace: Workspace, arguments: Namespace) -> int:
    check_days(arguments.days)
    question = f"Erase for ever every profile that nobody used for more than {arguments.days} days?"
    confirm(question, arguments.yes)
    erased = expire_unused(workspace, arguments.days)
    if arguments.json:
        print(json.dumps([asdict(one) for one in erased], ensure_ascii=False))
    else:
        lines = [f"erased {one.name}: {_recordings(one.n_utterances)}" for one in erased]
        print("\n".join(lines) or "nothing to erase: all profiles were used")
    return 0


def _move(workspace: Workspace, arguments: Namespace) -> int:
    file = Path(arguments.to_key).expanduser().absolute() if arguments.to_key else None
    is_url = "://" in arguments.to
    where = arguments.to if is_url else Path(arguments.to).expanduser().absolute()
    moved = move(open_database(workspace), Database(where, read_key(file, workspace.root) if file else None))
    if arguments.json:
        print(json.dumps(asdict(moved)))
        return 0
    print(
        f"copied and read back: {_counted(moved.n_profiles, 'profile')} with {_recordings(moved.n_utterances)}, "
        f"{_counted(moved.n_accounts, 'account')}\nFrom now on, start Attune with:\n"
        f"SER_DATABASE={'the address you gave' if is_url else f'sqlite:///{where}'}\n"
        f"{f'SER_KEY_FILE={file}' if file else 'no SER_KEY_FILE'}\n"
        "What was recorded while this ran was not taken along: stop Attune before you move.\n"
        "The old place still holds everything: delete that file, or drop that database, once you have seen that all is well."
    )
    return 0


def _new_key(workspace: Workspace, arguments: Namespace) -> int:
    file = Path(arguments.file).expanduser().absolute()
    make_key(file, workspace.root)
    if arguments.json:
        print(json.dumps({"file": str(file)}))
        return 0
    print(
        f"wrote a key into {file}\n"
        "Keep a copy in a safe place: whoever loses the key loses the recordings, for nobody can read them without it.\n"
        "Nothing is encrypted yet. Name the key when Attune is started for the first time: SER_KEY_FILE="
        f"{file}\nWhere there are profiles already, call: profiles move --to FILE --to-key {file}"
    )
    return 0


def _list(store: ProfileStore, arguments: Namespace) -> int:
    profiles = store.list()
    if arguments.json:
        print(json.dumps([asdict(profile) for profile in profiles], ensure_ascii=False))
    else:
        lines = [
            f"{profile.name}: {_recordings(len(profile.utterances))}{_emotions(profile)}{_talk(profile)}"
            for profile in profiles
        ]
        others = sum(account.n_profiles for account in Accounts(open_workspace(arguments.workspace)).list())
        print("\n".join(lines) or "no profile is stored here")
        if others:
            print(f"{others} more belong to accounts ('accounts list')")
    return 0


def _show(store: ProfileStore, arguments: Namespace) -> int:
    profile = store.get(arguments.name)
    if arguments.json:
        print(json.dumps(asdict(profile), ensure_ascii=False))
        return 0
    print(f"{profile.name}, made {profile.created}, {_agreed(profile)}")
    for utterance in profile.utterances:
        print(f"  {utterance.emotion:<10} {utterance.duration_s:4.1f} s  {utterance.quality.get('verdict', '')}")
    if profile.talk:
        print(f"  free speech {sum(part.duration_s for part in profile.talk):.1f} s, in {len(profile.talk)} parts")
    return 0


def _agreed(profile: Profile) -> str:
    consent = profile.consent
    if consent is None:
        return "before consent was recorded"
    if consent.is_nobodys:
        return "by a speech synthesiser: nobody's voice"
    return f"agreed {consent.agreed} to wording {consent.version}"


def _emotions(profile: Profile) -> str:
    return f" ({', '.join(profile.emotions)})" if profile.emotions else ""


def _talk(profile: Profile) -> str:
    seconds = sum(part.duration_s for part in profile.talk)
    return f" and {seconds:.0f} s of free speech" if profile.talk else ""


def _recordings(n: int) -> str:
    return _counted(n, "recording")


def _counted(n: int, what: str) -> str:
    return f"{n} {what}{'' if n == 1 else 's'}"


def _delete(store: ProfileStore, arguments: Namespace) -> int:
    profile = store.get(arguments.name)
    confirm(f"Erase {profile.name} and {_recordings(len(profile.utterances))}{_talk(profile)} for ever?", arguments.yes)
    erased = store.delete(arguments.name)
    if arguments.json:
        print(json.dumps(asdict(erased), ensure_ascii=False))
    else:
        print(
            f"erased {erased.name}: {_recordings(erased.n_utterances)}, {erased.n_bytes / 1024:.0f} kB with embeddings"
        )
    return 0


def _rename(store: ProfileStore, arguments: Namespace) -> int:
    profile = store.rename(arguments.name, arguments.new_name)
    print(json.dumps(asdict(profile), ensure_ascii=False) if arguments.json else f"renamed to {profile.name}")
    return 0


def _export(store: ProfileStore, arguments: Namespace) -> int:
    content = store.export(arguments.name)
    with written(Path(arguments.file)) as hidden:
        hidden.write_bytes(content)
    print(json.dumps({"file": arguments.file}) if arguments.json else f"wrote {arguments.file}")
    return 0


def _import(store: ProfileStore, arguments: Namespace) -> int:
    try:
        content = Path(arguments.file).read_bytes()
    except OSError:
        raise BadArchive(
            f"there is no readable file '{Path(arguments.file).name}' at the place named; check the path"
        ) from None
    profile = store.import_archive(content, ask_for_consent(arguments.agree), arguments.name)
    print(json.dumps(asdict(profile), ensure_ascii=False) if arguments.json else f"imported {profile.name}")
    return 0


_ACTIONS = {
    "list": _list,
    "show": _show,
    "delete": _delete,
    "rename": _rename,
    "export": _export,
    "import": _import,
}
_ON_ALL = {"expire": _expire, "new-key": _new_key, "move": _move}
