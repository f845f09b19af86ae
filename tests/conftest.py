"""Fixtures that several parts share."""

from collections.abc import Iterator

import pytest
from hypothesis import settings

from workbench.embedded import EmbeddedStore

# How long an example takes says nothing on a machine that is shared; pytest-timeout bounds whole tests.
settings.register_profile("workbench", deadline=None)
settings.load_profile("workbench")


@pytest.fixture
def store() -> Iterator[EmbeddedStore]:
    """A running embedded event store, empty and in memory."""
    with EmbeddedStore() as running:
        yield running
