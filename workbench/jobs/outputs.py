"""The files of a run: written to a staging folder, put in place together with their record in the ledger, and removed by retention."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from workbench.jobs.ledger import Run
from workbench.jobs.output_conflicts import FAILED
from workbench.jobs.pipeline import Format, Retention


@dataclass(frozen=True, slots=True)
class Stage:
    """The staging folders of one attempt, beside the targets of its files."""

    targets: Mapping[Format, Path]
    attempt: int

    def files(self) -> dict[str, Path]:
        """Return where each file is written, by format."""
        return {kind: self._folder(target) / target.name for kind, target in self.targets.items()}

    def prepare(self) -> None:
        """Make the folders, and remove those of attempts that were killed."""
        for target in self.targets.values():
            target.parent.mkdir(parents=True, exist_ok=True)
            for left in target.parent.iterdir():
                if left.name.startswith(f".{target.name}.") and left.name.endswith(".run"):
                    shutil.rmtree(left, ignore_errors=True)
            self._folder(target).mkdir(exist_ok=True)  # formats may share one

    def moves(self, *, failed: bool = False) -> dict[Path, tuple[Path, str]]:
        """Return for each target the staged file and its digest: of everything written, or of what is kept of a failed attempt."""
        found = {}
        for target in self.targets.values():
            folder = self._folder(target)
            among = folder / target.with_suffix(FAILED).name if failed else folder
            for staged in sorted(path for path in among.rglob("*") if path.is_file()):
                with staged.open("rb") as file:
                    digest = hashlib.file_digest(file, "sha256").hexdigest()
                found[target.parent / staged.relative_to(folder)] = staged, digest
        return found

    def forget_failures(self) -> None:
        """Remove what was kept of failed attempts, since one has succeeded."""
        for target in self.targets.values():
            shutil.rmtree(target.with_suffix(FAILED), ignore_errors=True)

    def clear(self) -> None:
        """Remove the folders."""
        for target in self.targets.values():
            shutil.rmtree(self._folder(target), ignore_errors=True)

    def _folder(self, target: Path) -> Path:
        # Each attempt has its own, so an attempt that was thought dead and wakes up does not disturb the next.
        return target.with_name(f".{target.name}.{self.attempt}.run")


def settle_failed(stage: Stage) -> list[Path]:
    """Put in place what is kept of a failed attempt; it replaces what was kept of an earlier one."""
    moves = stage.moves(failed=True)
    if moves:
        stage.forget_failures()
    for target, (staged, _) in moves.items():
        target.parent.mkdir(parents=True, exist_ok=True)
        staged.replace(target)
    return list(moves)


def move_outputs(placing: Mapping[str, Any]) -> list[Path] | None:
    """Put the files of a finished attempt in place, unless they are there; return None, and move nothing, if one is missing."""
    moves = [(Path(target), Path(staged), digest) for target, staged, digest in placing["moves"]]
    for target, staged, digest in moves:
        if not staged.is_file() and not _is(target, digest):
            return None
    for target, staged, _ in moves:
        if staged.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            staged.replace(target)
            with suppress(OSError):
                staged.parent.rmdir()  # the last one leaves it empty
    return [target for target, _, _ in moves]


def expired(runs: Sequence[Run], retention: Retention, *, now: datetime) -> list[Run]:
    """Return the runs whose files retention no longer keeps, given runs with files, the latest first; never the last run."""
    found = []
    for index, run in enumerate(runs[1:], 1):
        too_many = retention.runs is not None and index >= retention.runs
        too_old = retention.age is not None and now - run.scheduled_at > retention.age
        if too_many or too_old:
            found.append(run)
    return found


def remove(runs: Iterable[Run], *, kept: Iterable[Run]) -> list[Run]:
    """Remove the files of runs, except those that a kept run has too; return the runs that have no files any more."""
    wanted = {file for run in kept for file in run.files}
    cleared = []
    for run in runs:
        with suppress(OSError):  # its place cannot be written now: the next run tries again
            for file in run.files:
                if file not in wanted:
                    file.unlink(missing_ok=True)
                    with suppress(OSError):
                        file.parent.rmdir()  # the last file of a run leaves its directory empty
            cleared.append(run)
    return cleared


def _is(file: Path, digest: str) -> bool:
    with suppress(OSError), file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest() == digest
    return False
