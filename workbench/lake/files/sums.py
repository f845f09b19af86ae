"""Checksums of the log of a lake.

Delta trusts its log: it accepts a truncated or emptied commit file, and statistics without a check. So each of the two kinds of writers,
exports and clusterings, stores in its application transactions the number of rows and the sum of the digests of the files that its
commits added, minus those that they removed. An export and a clustering may commit concurrently, so the sums are not chained: the files
that a version names must add up to both sums together. Each group of transactions carries a check value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from deltalake import DeltaTable

from workbench.errors import LakeDamaged
from workbench.lake.files.format import CLUSTER, EXPORT, SUMMED_SINCE, TABLE, DataFile, data_files, format_of, signed
from workbench.lake.files.integrity import check_value

_MODULUS = 2**128
_PARTS = {
    EXPORT: ("", ".position", ".prepare_position", ".event_id.high", ".event_id.low", ".complete_until"),
    CLUSTER: ("",),
}
"""The transactions of each kind of writer, besides those of its sums."""

_SUMS = (".rows", ".sum.high", ".sum.low")
_CHECK = ".check"

VersionOf = Callable[[str], int | None]


@dataclass(frozen=True, slots=True)
class Sum:
    """The number of rows in some files, and the sum modulo 2^128 of the SHA-256 of the actions that add them."""

    rows: int = 0
    digest: int = 0

    @classmethod
    def of(cls, files: Iterable[DataFile]) -> Sum:
        """Add up files."""
        known = list(files)
        return cls(sum(file.rows for file in known), sum(file.digest for file in known) % _MODULUS)

    def __add__(self, other: Sum) -> Sum:
        return Sum(self.rows + other.rows, (self.digest + other.digest) % _MODULUS)

    def __sub__(self, other: Sum) -> Sum:
        return Sum(self.rows - other.rows, (self.digest - other.digest) % _MODULUS)


def sealed(writer: str, transactions: Mapping[str, int], total: Sum) -> dict[str, int]:
    """Return the transactions of a commit together with the sums of all commits of that writer, and a check value over both."""
    values = {
        **transactions,
        f"{writer}.rows": total.rows,
        f"{writer}.sum.high": signed(total.digest >> 64),
        f"{writer}.sum.low": signed(total.digest % 2**64),
    }
    return {**values, f"{writer}{_CHECK}": _check(values)}


def sum_of(path: str, writer: str, version_of: VersionOf) -> Sum:
    """Return the sum that a writer has stored; zero if it has not committed yet.

    Raises
    ------
    LakeDamaged
        Its transactions do not match their check value.
    """
    check = version_of(f"{writer}{_CHECK}")
    if check is None and version_of(writer) is None:  # each absent name costs a scan of the log
        return Sum()
    found = {name: version_of(name) for name in _names(writer)}
    values = {name: value for name, value in found.items() if value is not None}
    if len(values) < len(found) or check != _check(values):
        what = "checkpoint of the export" if writer == EXPORT else "record of the clustering"
        raise log_damaged(path, f"the {what} is not what was written")
    high, low = values[f"{writer}.sum.high"] % 2**64, values[f"{writer}.sum.low"] % 2**64
    return Sum(values[f"{writer}.rows"], high << 64 | low)


def check_sums(path: str, files: Sequence[DataFile], version_of: VersionOf) -> None:
    """Check that the files of a version match the sums of the lake's commits.

    If another program rewrote files, as Spark's OPTIMIZE does, only the number of rows is compared.

    Raises
    ------
    LakeDamaged
        They differ: a commit was lost, or the log was changed.
    """
    expected, found = sum_of(path, EXPORT, version_of) + sum_of(path, CLUSTER, version_of), Sum.of(files)
    if found.rows != expected.rows:
        raise log_damaged(path, f"it names files with {found.rows:,} events, but {expected.rows:,} were written")
    if found.digest != expected.digest and not any(map(_is_foreign, files)):
        raise log_damaged(path, "what it says of the files is not what was written")


def live_files(path: str, table: DeltaTable, *, version_of: VersionOf | None = None) -> tuple[DataFile, ...]:
    """Return the files that a table names, in log order, after checking their sums.

    ``version_of`` is the table's ``transaction_version``, or a cached version of it.

    Raises
    ------
    LakeDamaged
        See `check_sums`.
    """
    files = data_files(table)
    if format_of(table.metadata().configuration) >= SUMMED_SINCE:
        check_sums(path, files, version_of or table.transaction_version)
    return files


def log_damaged(path: str, what: str) -> LakeDamaged:
    """Return the error for a log of a lake that differs from what was written."""
    return LakeDamaged(f"The log of the lake {path} is damaged, {TABLE}/_delta_log: {what}. Restore it, or export into a new directory.")


def _is_foreign(file: DataFile) -> bool:
    """Whether another program wrote a file, judged by the prefix of its name."""
    return file.path.rpartition("/")[2].startswith("part-")


def _names(writer: str) -> list[str]:
    return [f"{writer}{part}" for part in (*_PARTS[writer], *_SUMS)]


def _check(values: Mapping[str, int]) -> int:
    return int.from_bytes(check_value(values)[:8], "big", signed=True)
