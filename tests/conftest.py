"""Fixtures that several parts share."""

import signal
from collections.abc import Iterator

import pytest
from hypothesis import settings

from workbench.embedded import EmbeddedStore

# How long an example takes says nothing on a machine that is shared; pytest-timeout bounds whole tests.
settings.register_profile("workbench", deadline=None)
settings.load_profile("workbench")

# A shell starts what it runs in the background with SIGINT ignored, and commands would inherit that from us.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def store() -> Iterator[EmbeddedStore]:
    """A running embedded event store, empty and in memory."""
    with EmbeddedStore() as running:
        yield running
