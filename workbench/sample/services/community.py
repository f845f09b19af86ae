"""The community service: posts, comments and likes (``post-<id>``), members, their points and bans (``member-<user id>``)."""

from __future__ import annotations

from functools import partial

from workbench.kurrent.bulk_writer import StreamState
from workbench.sample.journal import Append, Cause, Draft, Journal, JournalEvent
from workbench.sample.views import MemberView, PostView


class Community:
    """Posts and members, as the community service sees them.

    Attributes
    ----------
    posts : dict[str, PostView]
        The read model of posts, by id.
    members : dict[str, MemberView]
        The read model of members, by user id.
    """

    def __init__(self, journal: Journal) -> None:
        self.posts: dict[str, PostView] = {}
        self.members: dict[str, MemberView] = {}
        self._journal = journal

    def _on_post(self, cause: Cause, post_id: str, *drafts: Draft) -> Append | None:
        post = self.posts.get(post_id)
        if post is None or post.is_removed:
            return None
        return self._journal.append(f"post-{post_id}", *drafts, cause=cause, expected=post.revision)

    def _on_member(self, cause: Cause, user_id: str, *drafts: Draft) -> Append | None:
        member = self.members.get(user_id)
        if member is None or member.has_left:
            return None
        return self._journal.append(f"member-{user_id}", *drafts, cause=cause, expected=member.revision)

    def welcome(self, cause: Cause, user_id: str) -> Append | None:
        """Make a user a member, or one again who had left."""
        member = self.members.get(user_id)
        if member is not None and not member.has_left:
            return None
        expected = StreamState.NO_STREAM if member is None else member.revision
        welcomed = Draft("community.member_welcomed", {"userId": user_id, "points": 10})
        return self._journal.append(f"member-{user_id}", welcomed, cause=cause, expected=expected)

    def publish(self, cause: Cause, post_id: str, *, author: str, title: str, text: str, tags: list[str]) -> Append | None:
        member = self.members.get(author)
        if post_id in self.posts or member is None or member.has_left or member.banned_until is not None:
            return None
        body = {"userId": author, "title": title, "body": text, "tags": tags}
        published = Draft("community.post_published", body)
        return self._journal.append(f"post-{post_id}", published, cause=cause, expected=StreamState.NO_STREAM)

    def edit(self, cause: Cause, post_id: str, *, title: str) -> Append | None:
        return self._on_post(cause, post_id, Draft("community.post_edited", {"title": title}))

    def comment(self, cause: Cause, post_id: str, user_id: str, text: str) -> Append | None:
        return self._on_post(cause, post_id, Draft("community.comment_added", {"userId": user_id, "text": text}))

    def like(self, cause: Cause, post_id: str, user_id: str) -> Append | None:
        """Like a post, once. Likes commute: any revision will do, as long as the post is there."""
        post = self.posts.get(post_id)
        if post is None or post.is_removed or user_id in post.likes:
            return None
        liked = Draft("community.post_liked", {"userId": user_id})
        return self._journal.append(f"post-{post_id}", liked, cause=cause, expected=StreamState.STREAM_EXISTS)

    def unlike(self, cause: Cause, post_id: str, user_id: str) -> Append | None:
        post = self.posts.get(post_id)
        if post is None or user_id not in post.likes:
            return None
        return self._on_post(cause, post_id, Draft("community.post_unliked", {"userId": user_id}))

    def remove(self, cause: Cause, post_id: str, reason: str) -> Append | None:
        return self._on_post(cause, post_id, Draft("community.post_removed", {"reason": reason}))

    def award(self, cause: Cause, user_id: str, *, points: int, weight: float) -> Append | None:
        return self._on_member(cause, user_id, Draft("community.points_awarded", {"points": points, "weight": weight}))

    def ban(self, cause: Cause, user_id: str, *, days: int, reason: str) -> Append | None:
        until = self._journal.instant(digits=6, ahead=days * 86_400)
        return self._on_member(cause, user_id, Draft("community.member_banned", {"until": until, "reason": reason}))

    def lift_ban(self, cause: Cause, user_id: str) -> Append | None:
        member = self.members.get(user_id)
        if member is None or member.banned_until is None:
            return None
        return self._on_member(cause, user_id, Draft("community.member_unbanned", {}))

    def leave(self, cause: Cause, user_id: str) -> Append | None:
        return self._on_member(cause, user_id, Draft("community.member_left", {}))

    def on_user_deleted(self, event: JournalEvent) -> None:
        assert event.cause is not None
        cause = Cause(event.cause.correlation_id, event.id)
        self._journal.later(0.1, partial(self.leave, cause, event.stream[len("user-") :]))

    def on_post_removed(self, event: JournalEvent) -> None:
        """Ban the author of a post that was removed as spam, for a week."""
        if event.body["reason"] == "spam":
            assert event.cause is not None
            cause = Cause(event.cause.correlation_id, event.id, event.cause.user_id)
            author = self.posts[event.stream[len("post-") :]].author
            self._journal.later(0.3, partial(self.ban, cause, author, days=7, reason="spam"))

    def on_member_banned(self, event: JournalEvent) -> None:
        assert event.cause is not None
        cause = Cause(event.cause.correlation_id, event.id)
        self._journal.later(7 * 86_400, partial(self.lift_ban, cause, event.stream[len("member-") :]))

    def apply(self, event: JournalEvent) -> None:
        """Take an event of a post or of a member into the read models."""
        category, _, key = event.stream.partition("-")
        if category == "post":
            self._apply_to_post(event, key)
        else:
            self._apply_to_member(event, key)

    def _apply_to_post(self, event: JournalEvent, post_id: str) -> None:
        body = event.body
        if event.type == "community.post_published":
            self.posts[post_id] = PostView(event.revision, body["userId"], body["title"], tuple(body["tags"]))
            return
        post = self.posts[post_id]
        post.revision = event.revision
        match event.type:
            case "community.post_liked":
                post.likes.add(body["userId"])
            case "community.comment_added":
                post.comments += 1
            case "community.post_unliked":
                post.likes.discard(body["userId"])
            case "community.post_edited":
                post.title = body["title"]
                post.edits += 1
            case "community.post_removed":
                post.is_removed = True

    def _apply_to_member(self, event: JournalEvent, user_id: str) -> None:
        body = event.body
        if event.type == "community.member_welcomed":
            member = self.members.setdefault(user_id, MemberView(event.revision, user_id))
            member.points += body["points"]
            member.has_left = False
        member = self.members[user_id]
        member.revision = event.revision
        match event.type:
            case "community.points_awarded":
                member.points += body["points"]
                member.reputation += body["points"] * body["weight"]
            case "community.member_banned":
                member.banned_until = body["until"]
                member.bans += 1
            case "community.member_unbanned":
                member.banned_until = None
            case "community.member_left":
                member.has_left = True
