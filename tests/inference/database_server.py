"""A PostgreSQL server of its own for the tests: small, on a free port of this computer, gone afterwards."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import psycopg

PASSWORD = "p@ss/wörd"
_SETTINGS = ("listen_addresses=127.0.0.1", "unix_socket_directories=", "shared_buffers=16MB", "max_connections=40")


def programs() -> Path | None:
    """The folder with the server's programs; None where none is installed."""
    found = [Path(at).parent for at in [shutil.which("pg_ctl")] if at]
    found += sorted(Path("/usr/lib/postgresql").glob("*/bin"))[::-1]
    return next((folder for folder in found if (folder / "initdb").exists()), None)


class Server:
    """A running server; every database that is asked for is a schema of its own in it."""

    def __init__(self, folder: Path, programs: Path):
        self.data = folder / "data"
        self._folder, self._programs, self._made = folder, programs, 0
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        password = folder / "password"
        password.write_text(PASSWORD)
        for path in (folder, password) if os.geteuid() == 0 else ():
            shutil.chown(path, *_account())
        self._run("initdb", "--username=attune", "--auth=scram-sha-256", f"--pwfile={password}", "--encoding=UTF8",
                  "--locale=C", "--no-sync")  # fmt: skip
        self.start()

    def start(self) -> None:
        settings = " ".join(f"-c {setting}" for setting in (*_SETTINGS, f"port={self.port}"))
        self._run("pg_ctl", "start", "--wait", f"--log={self._folder / 'log'}", f"--options={settings}")

    def kill(self) -> None:
        """As a power cut would."""
        self._run("pg_ctl", "stop", "--mode=immediate")

    def url(self, password: str = PASSWORD, name: str = "postgres") -> str:
        """Of a database with nothing in it, as a person would write it."""
        schema, self._made = f"s{self._made}", self._made + 1
        with psycopg.connect(self._address(), autocommit=True) as connection:
            connection.execute(f"CREATE SCHEMA {schema}")
        address = f"postgresql://attune:{quote(password, safe='')}@127.0.0.1:{self.port}/{name}"
        return f"{address}?options=-csearch_path%3D{schema}"

    def drop_all(self) -> None:
        """All that was made of databases so far."""
        with psycopg.connect(self._address(), autocommit=True) as connection:
            for number in range(self._made):
                connection.execute(f"DROP SCHEMA s{number} CASCADE")
        self._made = 0

    def _address(self) -> str:
        return f"postgresql://attune:{quote(PASSWORD, safe='')}@127.0.0.1:{self.port}/postgres"

    def bytes_on_disk(self) -> bytes:
        """What is in the files of the database, once all is written; but for the system's own that know no contents."""
        with psycopg.connect(self._address(), autocommit=True) as connection:
            connection.execute("CHECKPOINT")
            [(number,)] = connection.execute("SELECT oid FROM pg_database WHERE datname = 'postgres'")
            system = connection.execute(
                "SELECT relfilenode FROM pg_class WHERE relnamespace = 'pg_catalog'::regnamespace "
                "AND relname NOT LIKE 'pg_statistic%' AND relfilenode != 0"
            )
            known = {str(relation) for (relation,) in system}
        files = sorted((self.data / "base" / str(number)).iterdir())
        return b"".join(path.read_bytes() for path in files if path.name not in known)

    def _run(self, program: str, *arguments: str) -> None:
        """Never as root: the server refuses that."""
        user, group = _account()
        nobody = {"user": user, "group": group, "extra_groups": []} if os.geteuid() == 0 else {}
        command = [str(self._programs / program), f"--pgdata={self.data}", *arguments]
        environment = {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C"}
        done = subprocess.run(
            command, cwd=self._folder, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, text=True, check=False, **nobody,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr


def _account() -> tuple[int, int]:
    names = {entry.pw_name: entry for entry in pwd.getpwall()}
    entry = names.get("postgres") or names["nobody"]
    return entry.pw_uid, entry.pw_gid


@contextmanager
def running(programs: Path) -> Iterator[Server]:
    """A server, until the end."""
    with tempfile.TemporaryDirectory(prefix="attune-postgresql-", ignore_cleanup_errors=True) as folder:
        server = Server(Path(folder), programs)
        try:
            yield server
        finally:
            server.kill()
