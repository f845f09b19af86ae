"""The lake: the exported copy of one event store, in open files.

`open_lake` reads one, `LakeWriter` writes one. This package is the only home of deltalake and DuckDB.
"""

from workbench.lake.cluster import ClusterResult
from workbench.lake.info import LakeInfo
from workbench.lake.lake import Lake, open_lake
from workbench.lake.writer import LakeWriter

__all__ = ["ClusterResult", "Lake", "LakeInfo", "LakeWriter", "open_lake"]
