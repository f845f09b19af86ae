"""Fixtures that several parts share."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.laws import register_profiles
from tests.stores import NEEDS, Server, Store, server_of

register_profiles()

# A shell starts what it runs in the background with SIGINT ignored, and nohup with SIGHUP; commands would inherit that from us.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

_SERVER = pytest.StashKey[Server]()


@pytest.fixture(scope="session")
def server(pytestconfig: pytest.Config) -> Server:
    """The kind of event store that the tests run against; for stores of a wider scope than a test."""
    return pytestconfig.stash[_SERVER]


@pytest.fixture
def store(server: Server) -> Iterator[Store]:
    """A running event store. Fresh, but where the tests were given a server that runs already."""
    with server.serve() as running:
        yield running


@pytest.fixture
def new_store(server: Server) -> Iterator[Callable[..., Store]]:
    """A function that starts one more event store, for the time of the test; ``needs("fresh server")``.

    Its options are those of ``EmbeddedStore``; the test says by ``needs(…)`` what they make of it.
    """
    with ExitStack() as running:

        def start(**options: Any) -> Store:
            assert "fresh server" in server.offers, 'The test must say needs("fresh server").'
            return running.enter_context(server.serve(**options))

        yield start


def pytest_configure(config: pytest.Config) -> None:
    try:
        config.stash[_SERVER] = server_of(os.environ.get("WORKBENCH_TEST_SERVER", "embedded"))
    except ValueError as error:
        raise pytest.UsageError(str(error)) from None


def pytest_unconfigure(config: pytest.Config) -> None:
    if _SERVER in config.stash:
        config.stash[_SERVER].close()


def pytest_report_header(config: pytest.Config) -> str:
    return f"event store: {config.stash[_SERVER].name}"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Of a server that is not ours only the tests that talk to it tell anything."""
    for item in items:
        unknown = _needs(item) - NEEDS.keys()
        if unknown:
            raise pytest.UsageError(f"{item.nodeid} needs {', '.join(sorted(unknown))}: the words are {', '.join(NEEDS)}.")
    if config.stash[_SERVER].name != "embedded":
        ours = [item for item in items if "server" not in getattr(item, "fixturenames", ())]
        config.hook.pytest_deselected(items=ours)
        items[:] = [item for item in items if item not in set(ours)]


def pytest_runtest_setup(item: pytest.Item) -> None:
    needs = _needs(item)
    if needs:
        server = item.config.stash[_SERVER]
        missing = [word for word in NEEDS if word in needs and word not in server.offers]
        if missing:
            pytest.skip(f"needs {', '.join(missing)}, which the server under test does not offer")


def _needs(item: pytest.Item) -> set[str]:
    return {word for mark in item.iter_markers("needs") for word in mark.args}
