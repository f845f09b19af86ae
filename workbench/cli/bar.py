"""The column of a progress bar that says how much is done."""

from __future__ import annotations

from rich.progress import ProgressColumn, Task
from rich.text import Text

QUIET_SECONDS = 2.0
"""How long nothing is heard until seconds are shown and no percentage."""


class ProgressPercentage(ProgressColumn):
    """The percentage; after a while without news, the seconds since the last.

    Where a server looks through a long stretch of the log of which nothing is kept, it says nothing of how far it is.
    """

    def render(self, task: Task) -> Text:
        """Return what is shown now."""
        quiet = task.get_time() - task.fields["told_at"]
        return Text(f"{quiet:.0f} s" if quiet >= QUIET_SECONDS else f"{task.percentage:>3.0f}%", style="progress.percentage")
