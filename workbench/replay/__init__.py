"""Replay: events become state. ``fold`` defines what that means, event by event."""
