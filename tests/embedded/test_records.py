"""The bytes of a record are the protocol's message, whatever the event."""

from dataclasses import dataclass
from uuid import UUID

from esdbclient.protos.Grpc import shared_pb2, streams_pb2
from hypothesis import given
from hypothesis import strategies as st

from workbench.embedded.recording import records
from workbench.embedded.recording.records import MAX_REVISION, NewEvent

numbers = st.integers(0, 2**63 - 1)
names = st.text(st.characters(codec="utf-8"), min_size=1, max_size=200)
new_events = st.builds(NewEvent, st.uuids(), names, st.binary(max_size=400), st.binary(max_size=200), st.booleans())


@dataclass(frozen=True, slots=True)
class Place:
    stream: str
    revision: int
    prepare: int
    commit: int
    created: int


places = st.builds(Place, names, numbers, numbers, numbers, numbers)


@st.composite
def frames(draw: st.DrawFn) -> tuple[NewEvent, Place, bytes]:
    event, at = draw(new_events), draw(places)
    frame = records.encode(event, stream=at.stream, revision=at.revision, prepare=at.prepare, commit=at.commit, created=at.created)
    return event, at, frame


@given(frames())
def test_a_frame_is_the_message_that_protobuf_would_write(sample: tuple[NewEvent, Place, bytes]) -> None:
    event, place, frame = sample
    read = streams_pb2.ReadResp.FromString(frame).event
    assert read.WhichOneof("position") == "commit_position"
    assert not read.HasField("link")
    assert read.commit_position == place.commit
    assert read.event == streams_pb2.ReadResp.ReadEvent.RecordedEvent(
        id=shared_pb2.UUID(string=str(event.id)),
        stream_identifier=shared_pb2.StreamIdentifier(stream_name=place.stream.encode()),
        stream_revision=place.revision,
        prepare_position=place.prepare,
        commit_position=place.commit,
        metadata={
            "type": event.type,
            "created": str(place.created),
            "content-type": "application/json" if event.is_json else "application/octet-stream",
        },
        custom_metadata=event.metadata,
        data=event.data,
    )


@given(frames())
def test_a_frame_gives_back_what_it_was_made_of(sample: tuple[NewEvent, Place, bytes]) -> None:
    event, _, frame = sample
    assert records.decode(frame) == records.Payload(event.id, event.is_json, event.metadata, event.data)
    assert records.id_of(frame) == event.id


@given(frames())
def test_structured_ids_are_the_same_ids(sample: tuple[NewEvent, Place, bytes]) -> None:
    event, _, frame = sample
    text = streams_pb2.ReadResp.FromString(frame)
    structured = streams_pb2.ReadResp.FromString(records.with_structured_ids(frame))
    bits = structured.event.event.id.structured
    high, low = bits.most_significant_bits % 2**64, bits.least_significant_bits % 2**64
    assert UUID(int=high << 64 | low) == event.id
    text.event.event.id.Clear()
    structured.event.event.id.Clear()
    assert structured == text


@given(frames(), frames())
def test_a_resolved_link_holds_both_events_and_the_links_position(
    link: tuple[NewEvent, Place, bytes], target: tuple[NewEvent, Place, bytes]
) -> None:
    both = records.resolved(link[2], target[2], 77)
    for frame in (both, records.with_structured_ids(both)):
        read = streams_pb2.ReadResp.FromString(frame).event
        assert read.commit_position == 77
        assert (read.link.data, read.event.data) == (link[0].data, target[0].data)
    dangling = streams_pb2.ReadResp.FromString(records.resolved(link[2], None, 77)).event
    assert not dangling.HasField("event")
    assert dangling.link.data == link[0].data


@given(frames())
def test_redaction_overwrites_the_data_and_nothing_else(sample: tuple[NewEvent, Place, bytes]) -> None:
    event, _, frame = sample
    overwritten = records.redacted(frame)
    assert len(overwritten) == len(frame)
    expected = streams_pb2.ReadResp.FromString(frame)
    expected.event.event.data = b"\xff" * len(event.data)
    assert streams_pb2.ReadResp.FromString(overwritten) == expected


def test_the_revision_of_a_tombstone_fits() -> None:
    event = NewEvent(UUID(int=1), "$streamDeleted", is_json=False)
    frame = records.encode(event, stream="s", revision=MAX_REVISION, prepare=1, commit=1, created=0)
    assert streams_pb2.ReadResp.FromString(frame).event.event.stream_revision == 2**63 - 1
