"""A sample system with a history, for the demo, the tutorial and tests.

A seed and a size come in; a year of events goes out, appended to an event store.
The events come from auth, chat and community services, a registration saga across them, and a legacy service.
The same seed gives the same events, byte for byte, and ``facts`` counts them independently, so that answers can be checked.
Begin reading with ``system``, then one of ``services``.

=================== ================ ======================================================================================
streams             service          events
=================== ================ ======================================================================================
``user-<id>``       auth             ``user.created`` (versions 1 to 3), ``.moved``, ``.updated``, ``.logged_in``, ``.login_failed``,
                                     ``.locked``, ``.unlocked``, ``.role_granted``, ``.role_revoked``, ``.paid`` (1, 2),
                                     ``.plan_changed``, ``.avatar_changed`` (bytes), ``.snapshot``, ``.deleted``
``room-<id>``       chat             ``chat.room_created``, later ``chat.room_opened``; ``.room_renamed``, ``.room_archived``,
                                     ``.topic_set``, ``.member_joined``, ``.member_left``, ``.message_sent`` (1, 2),
                                     ``.message_edited``, ``.message_removed``, ``.attachment_added`` (bytes), ``.bot_posted`` (says
                                     JSON, and is not always), ``room.snapshot``
``post-<id>``       community        ``community.post_published``, ``.post_edited``, ``.post_liked``, ``.post_unliked``,
                                     ``.comment_added``, ``.post_removed``
``member-<id>``     community        ``community.member_welcomed``, ``.points_awarded``, ``.member_banned``, ``.member_unbanned``,
                                     ``.member_left``; the id is the user's
``registration-…``  saga             ``registration.started``, ``.step_completed``, ``.step_failed``, ``.step_compensated``,
                                     ``.completed``, ``.compensated``, ``.failed``
``users``           legacy           ``UserAdded``, ``UserRenamed``, ``UserLoggedIn``, ``UserRemoved``; the id is ``userId`` of the payload
=================== ================ ======================================================================================

A service keeps a read model, decides on it, and appends at the revision that it has seen (:mod:`.auth`, :mod:`.chat`,
:mod:`.community`). A process manager waits for events and answers with commands (:mod:`.registration`).
:mod:`.system` wires them, :mod:`.people` uses them.
"""

from workbench.sample.facts import RunningCounts
from workbench.sample.load import LoadSummary, load
from workbench.sample.system import SampleSystem, generate

__all__ = ["RunningCounts", "LoadSummary", "SampleSystem", "generate", "load"]
