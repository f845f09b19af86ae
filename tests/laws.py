"""How many examples of a law are tried: 200 in the default run, thousands in the nightly one (``make laws``).

A property test says nothing about it, and gets 200, if one example costs less than 50 ms of processor time. One whose examples cost more
says how many it can afford, by `at_least`, and the nightly run tries as many of it as of the others.
"""

from __future__ import annotations

from hypothesis import HealthCheck, settings

USUAL, NIGHTLY = 200, 2_000


def register_profiles() -> None:
    """Register the profiles ``workbench``, which holds unless another is asked for, and ``laws``.

    How long an example takes says nothing on a machine that is shared; pytest-timeout bounds whole tests.
    """
    slow = [HealthCheck.too_slow, HealthCheck.data_too_large]
    settings.register_profile("workbench", max_examples=USUAL, deadline=None, suppress_health_check=slow)
    settings.register_profile("laws", max_examples=NIGHTLY, deadline=None, suppress_health_check=slow, print_blob=True)
    settings.load_profile("workbench")


def at_least(examples: int) -> int:
    """Return how many examples to try of a law of which each costs much."""
    profile = settings.get_current_profile_name()
    return NIGHTLY if profile == "laws" else examples
