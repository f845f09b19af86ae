"""The lake: the exported copy of one event store, in open files.

Batches of events come in through `LakeWriter`, each committed together with its checkpoint.
Timelines, queries and replays are answered by `Lake`, which `open_lake` opens; every answer is about one version of the lake.
`files` writes and checks the files, `reading` executes timelines over them, `forks` applies the edits of what-ifs.
DuckDB and deltalake are used here and in `workbench.publication` only.
Begin reading with `lake`, then `reading.snapshot`.
"""

from workbench.lake.files.clustering import ClusterResult
from workbench.lake.info import LakeInfo
from workbench.lake.lake import Lake, open_lake
from workbench.lake.lake import open_lake as open
from workbench.lake.writer import LakeWriter

__all__ = ["ClusterResult", "Lake", "LakeInfo", "LakeWriter", "open", "open_lake"]
