"""How a signal ends a block that runs in another language."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from workbench.host.stopping import interruptible


class _Handled(Exception):
    """What the test's handler raises."""


def _handler(number: int, _: object) -> None:
    raise _Handled(number)


@pytest.fixture
def handled() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, _handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_the_handler_has_its_say_where_the_library_made_another_error_of_it(handled: None) -> None:
    asked: list[float] = []

    def query() -> None:
        try:
            signal.raise_signal(signal.SIGINT)
        except _Handled:
            while not asked:
                time.sleep(0.01)
            raise RuntimeError("interrupted") from None

    with pytest.raises(_Handled), interruptible(lambda: asked.append(time.monotonic()), abandon=lambda: None):
        query()
    assert asked


def test_a_block_that_a_signal_kept_from_beginning_says_nothing_when_it_is_collected(handled: None) -> None:
    """The handler can raise between the entry of ``with`` and its block, which is then never left; only its generator is closed."""
    asked: list[float] = []

    @contextmanager
    def entered() -> Iterator[None]:
        with interruptible(lambda: asked.append(time.monotonic()), abandon=lambda: None):
            yield

    block = entered().gen
    next(block)
    with pytest.raises(_Handled):
        signal.raise_signal(signal.SIGINT)
    while not asked:
        time.sleep(0.01)
    block.close()
