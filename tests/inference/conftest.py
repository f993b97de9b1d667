"""The database server that the tests of profiles share."""

import os
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session")
def server() -> Iterator["Server"]:  # noqa: F821 - imported where it is needed
    """A PostgreSQL server, one a worker."""
    from database_server import programs, running

    if programs() is None:
        reason = "no PostgreSQL server is installed (Debian's package postgresql)"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
    with running(programs()) as server:
        yield server
