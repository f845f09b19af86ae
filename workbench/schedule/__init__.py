"""Schedules: what is due is done once, whoever asks, and a ledger keeps what became of it."""

from workbench.schedule.ledger import Attempt, Ledger, Run, Total, utc_now
from workbench.schedule.scheduler import Done, Scheduler, Waiting

__all__ = ["Attempt", "Done", "Ledger", "Run", "Scheduler", "Total", "Waiting", "utc_now"]
