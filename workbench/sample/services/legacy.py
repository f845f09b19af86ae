"""The old accounts service: all its users in the one stream ``users``, ids in the payload, no expected revisions, no causes.

It spells its events its own way, escapes all that is not ASCII, and wrote no metadata, later a line of plain text.
"""

from __future__ import annotations

import json
from typing import Any

from workbench.sample.journal import Append, Journal, JournalEvent
from workbench.sample.views import LegacyUserView

CUT_OVER = 0.4
"""The share of the time at which the service was switched off and its users were taken over by auth."""

_METADATA_SINCE = 0.2


class LegacyAccounts:
    """Users, as the old service sees them.

    Attributes
    ----------
    users : dict[int, LegacyUserView]
        The read model: every user there is, by id.
    """

    def __init__(self, journal: Journal) -> None:
        self.users: dict[int, LegacyUserView] = {}
        self._journal = journal

    def _append(self, event_type: str, body: dict[str, Any]) -> Append:
        metadata = b"host=accounts-1; app=3.2" if self._journal.clock.progress >= _METADATA_SINCE else b""
        return self._journal.plain("users", event_type, json.dumps(body).encode(), body=body, metadata=metadata)

    def add(self, user_id: int, *, name: str, email: str) -> Append:
        return self._append("UserAdded", {"userId": user_id, "name": name, "mail": email})

    def rename(self, user_id: int, name: str) -> Append | None:
        return self._append("UserRenamed", {"userId": user_id, "name": name}) if user_id in self.users else None

    def log_in(self, user_id: int) -> Append | None:
        if user_id not in self.users:
            return None
        return self._append("UserLoggedIn", {"userId": user_id, "when": self._journal.instant(digits=0)})

    def remove(self, user_id: int) -> Append | None:
        return self._append("UserRemoved", {"userId": user_id}) if user_id in self.users else None

    def apply(self, event: JournalEvent) -> None:
        """Take an event of the stream ``users`` into the read model."""
        body = event.body
        user_id: int = body["userId"]
        match event.type:
            case "UserAdded":
                self.users[user_id] = LegacyUserView(user_id, body["name"], body["mail"])
            case "UserRenamed":
                self.users[user_id].name = body["name"]
            case "UserLoggedIn":
                self.users[user_id].logins += 1
            case "UserRemoved":
                del self.users[user_id]
