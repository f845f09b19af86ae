"""The chat service: rooms, who is in them, and what is said. One stream a room: ``room-<id>``."""

from __future__ import annotations

from collections import defaultdict, deque
from functools import partial
from typing import Any

from workbench.kurrent.bulk_writer import StreamState
from workbench.sample.journal import Append, Cause, Draft, Journal, JournalEvent
from workbench.sample.views import RoomView

SCHEMA_CHANGES = {"chat.message_sent": (0.55,)}
ROOM_TYPE_RENAMED = 0.35
"""Before this share of the time a new room is ``chat.room_created {title}``, from then on ``chat.room_opened {name, …}``."""

SNAPSHOT_EVERY = 200


class Chat:
    """Rooms, as the chat service sees them.

    Attributes
    ----------
    rooms : dict[str, RoomView]
        The read model: every room, by id.
    recent : dict[str, deque[tuple[str, str]]]
        For each room the last messages: event id and author.
    """

    def __init__(self, journal: Journal) -> None:
        self.rooms: dict[str, RoomView] = {}
        self.recent: dict[str, deque[tuple[str, str]]] = defaultdict(lambda: deque(maxlen=12))
        self.rooms_of: dict[str, set[str]] = defaultdict(set)
        self._journal = journal

    def _append(self, cause: Cause, room_id: str, *drafts: Draft) -> Append:
        return self._journal.append(f"room-{room_id}", *drafts, cause=cause, expected=self.rooms[room_id].revision)

    def _open_room(self, room_id: str) -> RoomView | None:
        room = self.rooms.get(room_id)
        return None if room is None or room.is_archived else room

    def open(self, cause: Cause, room_id: str, *, name: str, owner: str, is_private: bool) -> Append | None:
        """Open a room and let its owner in, in one append."""
        if room_id in self.rooms:
            return None
        if self._journal.clock.progress < ROOM_TYPE_RENAMED:
            opened = Draft("chat.room_created", {"title": name, "owner": owner})
        else:
            opened = Draft("chat.room_opened", {"name": name, "owner": owner, "private": is_private, "topic": None})
        joined = Draft("chat.member_joined", {"userId": owner})
        return self._journal.append(f"room-{room_id}", opened, joined, cause=cause, expected=StreamState.NO_STREAM)

    def join(self, cause: Cause, room_id: str, user_id: str) -> Append | None:
        room = self._open_room(room_id)
        if room is None or user_id in room.members:
            return None
        return self._append(cause, room_id, Draft("chat.member_joined", {"userId": user_id}))

    def leave(self, cause: Cause, room_id: str, user_id: str, *, reason: str | None = None) -> Append | None:
        room = self._open_room(room_id)
        if room is None or user_id not in room.members:
            return None
        body = {"userId": user_id} if reason is None else {"userId": user_id, "reason": reason}
        return self._append(cause, room_id, Draft("chat.member_left", body))

    def send(self, cause: Cause, room_id: str, user_id: str, text: str, *, reply_to: str | None = None) -> Append | None:
        """Say something in a room; only its members may."""
        room = self._open_room(room_id)
        if room is None or user_id not in room.members:
            return None
        body: dict[str, Any] = {"userId": user_id, "text": text}
        if self._journal.version("chat.message_sent") >= 2:
            body["replyTo"] = reply_to  # from version 2 on: null where it is none; in version 1 it is absent
        return self._append(cause, room_id, Draft("chat.message_sent", body))

    def edit(self, cause: Cause, room_id: str, message_id: str, text: str) -> Append | None:
        if self._open_room(room_id) is None:
            return None
        return self._append(cause, room_id, Draft("chat.message_edited", {"messageId": message_id, "text": text}))

    def remove(self, cause: Cause, room_id: str, message_id: str) -> Append | None:
        if self._open_room(room_id) is None:
            return None
        return self._append(cause, room_id, Draft("chat.message_removed", {"messageId": message_id}))

    def attach(self, cause: Cause, room_id: str, content: bytes) -> Append | None:
        if self._open_room(room_id) is None:
            return None
        return self._append(cause, room_id, Draft("chat.attachment_added", content, is_json=False))

    def post_as_bot(self, cause: Cause, room_id: str, content: bytes) -> Append | None:
        """Take a bot's post as it comes. It says that it is JSON, and nobody checks."""
        if self._open_room(room_id) is None:
            return None
        return self._append(cause, room_id, Draft("chat.bot_posted", content))

    def rename(self, cause: Cause, room_id: str, name: str) -> Append | None:
        room = self._open_room(room_id)
        if room is None or room.name == name:
            return None
        return self._append(cause, room_id, Draft("chat.room_renamed", {"name": name}))

    def set_topic(self, cause: Cause, room_id: str, topic: str | None) -> Append | None:
        room = self._open_room(room_id)
        if room is None or room.topic == topic:
            return None
        return self._append(cause, room_id, Draft("chat.topic_set", {"topic": topic}))

    def archive(self, cause: Cause, room_id: str) -> Append | None:
        if self._open_room(room_id) is None:
            return None
        return self._append(cause, room_id, Draft("chat.room_archived", {}))

    def take_snapshot(self, cause: Cause, room_id: str) -> Append | None:
        """Write the whole state down, so that a reader may begin there."""
        room = self._open_room(room_id)
        if room is None:
            return None
        body = {
            "revision": room.revision,
            "name": room.name,
            "owner": room.owner,
            "topic": room.topic,
            "members": len(room.members),
            "messages": room.messages,
        }
        return self._append(cause, room_id, Draft("room.snapshot", body))

    def on_user_deleted(self, event: JournalEvent) -> None:
        """Let a deleted user leave every room, one after the other."""
        user_id = event.stream[len("user-") :]
        assert event.cause is not None
        cause = Cause(event.cause.correlation_id, event.id)
        # Sorted: a set of texts has another order in every process.
        for delay, room_id in enumerate(sorted(self.rooms_of.get(user_id, ())), start=1):
            self._journal.later(0.2 * delay, partial(self.leave, cause, room_id, user_id, reason="deleted"))

    def apply(self, event: JournalEvent) -> None:
        """Take an event of a room's stream into the read model."""
        room_id, body = event.stream[len("room-") :], event.body
        if event.type == "chat.room_opened":
            self.rooms[room_id] = RoomView(event.revision, body["name"], body["owner"], body["private"], body["topic"])
            return
        if event.type == "chat.room_created":
            self.rooms[room_id] = RoomView(event.revision, body["title"], body["owner"])
            return
        room = self.rooms[room_id]
        room.revision = event.revision
        match event.type:
            case "chat.message_sent":
                room.messages += 1
                room.last_message = event.ticks
                self.recent[room_id].append((event.id, body["userId"]))
            case "chat.member_joined":
                room.members.add(body["userId"])
                self.rooms_of[body["userId"]].add(room_id)
            case "chat.member_left":
                room.members.discard(body["userId"])
                self.rooms_of[body["userId"]].discard(room_id)
            case "chat.message_edited":
                room.edits += 1
            case "chat.message_removed":
                room.removals += 1
            case "chat.attachment_added":
                room.attachments += 1
            case "chat.bot_posted":
                room.bot_posts += 1
            case "chat.room_renamed":
                room.name = body["name"]
            case "chat.topic_set":
                room.topic = body["topic"]
            case "chat.room_archived":
                room.is_archived = True
        if event.revision % SNAPSHOT_EVERY == SNAPSHOT_EVERY - 1 and event.cause is not None:
            cause = Cause(event.cause.correlation_id, event.id)
            self._journal.later(self._journal.rng.uniform(0.05, 2.0), partial(self.take_snapshot, cause, room_id))
