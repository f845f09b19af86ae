"""The column of a progress bar that shows how much is done."""

from __future__ import annotations

from rich.progress import ProgressColumn, Task
from rich.text import Text

QUIET_SECONDS = 2.0
"""After this long without news, seconds replace the percentage."""


class ProgressPercentage(ProgressColumn):
    """The percentage; after a while without news, the seconds since the last.

    A server reports no progress while it filters a long stretch of the log without a match.
    """

    def render(self, task: Task) -> Text:
        """Return the current text."""
        quiet = task.get_time() - task.fields["told_at"]
        return Text(f"{quiet:.0f} s" if quiet >= QUIET_SECONDS else f"{task.percentage:>3.0f}%", style="progress.percentage")
