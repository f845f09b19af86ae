"""The ids that a store remembers, so as to recognise appends that are sent again."""

from uuid import uuid4

from workbench.embedded.recording.committed import CommittedIds


def test_the_first_place_of_an_id_is_kept() -> None:
    ids, event_id = CommittedIds(), uuid4()
    ids.note(event_id, "a", 0)
    ids.note(event_id, "b", 7)
    assert ids.place_of(event_id) == ("a", 0)
    ids.forget()
    assert ids.place_of(event_id) is None


def test_the_oldest_ids_make_room_by_the_bytes_that_they_take() -> None:
    ids = CommittedIds(capacity=100)
    first, second, third = (uuid4() for _ in range(3))
    ids.note(first, "ten chars!", 0)  # 48 bytes each
    ids.note(second, "ten chars!", 1)
    assert ids.place_of(first) is not None
    ids.note(third, "t", 0)
    assert ids.place_of(first) is None
    assert ids.place_of(second) is not None
    assert ids.place_of(third) is not None
    ids.note(first, "x" * 100, 0)  # one that takes more than all is not kept either
    assert ids.place_of(first) is None
