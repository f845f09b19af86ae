"""The embedded store answers 738 calls as a KurrentDB 25.0.1 did, but for the few that are listed here."""

from collections.abc import Mapping

import pytest

from tests.embedded.recorded import Teller, differences_of_the_newer, make_again, recorded_calls
from workbench.embedded import EmbeddedStore

_KINDER = "the server says 'Exception was thrown by handler.', the embedded store what is wrong"
_NEVER = "the server never answers"
_LESS = "the embedded store does not have this service, or all of it; the README lists what it lacks"
_LISTED = "25.0.1 without projections and administration has no such service; the embedded store lists it, and lacks it"

KEPT: Mapping[int, str] = {
    # Appends: expected revisions beyond any stream, no or misplaced options, no type, no name, no id, no protobuf.
    **dict.fromkeys((13, 15, *range(68, 73), 76, 83, 84, 85, *range(93, 97), 108), _KINDER),
    149: f"{_KINDER}, and the call goes on; the bad event does not vanish from its append",
    # Reads of a stream: no or misplaced options, no name, no protobuf, revisions beyond any stream.
    **dict.fromkeys((179, 180, 211, 214, 219, 220, 221, 225), _KINDER),
    # Deletions of no stream.
    **dict.fromkeys((353, 355, 493), _KINDER),
    # Reads of $all: a prepare position above the commit position, positions beyond any log, none at all.
    **dict.fromkeys((568, 575, 576, 580, 588, 589, 591), _KINDER),
    # Expressions that .NET cannot read; a subscription without checkpoints.
    **dict.fromkeys((611, 612, 613, 621, 638, 639, 642, 683, 686), _KINDER),
    # A count of 0 of $all has no events; a filter that looks at no event at a time is refused.
    **dict.fromkeys((564, 610, 647, 684), _NEVER),
    724: f"{_KINDER}: there is no service of that name in lower case",
    **dict.fromkeys((725, 726), _LISTED),
    **dict.fromkeys((*range(727, 736),), _LESS),
}
"""The calls that are answered otherwise on purpose, and why."""


@pytest.mark.slow
def test_every_recorded_call_is_answered_as_by_the_server_save_for_those_listed() -> None:
    calls, newer = recorded_calls(), differences_of_the_newer()
    teller = Teller(calls)
    with EmbeddedStore() as store:
        answers, places = make_again(calls, store.address)
    wrong = {}
    for call, answer in zip(calls, answers, strict=True):
        differences = teller.differences(call, answer, places)
        if differences != newer.get(call.number, []):
            wrong[call.number] = "\n".join([f"#{call.number} [{call.rank}] {call.about}", *differences])
    unexpected = [told for number, told in wrong.items() if number not in KEPT]
    assert not unexpected, "\n\n".join(unexpected)
    assert set(KEPT) == set(wrong), "the list names calls that are answered as by the server"
