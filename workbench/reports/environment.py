"""The environment variables of a run: those that its process needs, and no secret of whoever started it.

A notebook may print its environment, or a library may print it for the notebook, and what is printed stands on the page. So variables
are passed by name: those that a Python process needs, those of the object store that holds the lake, and those that the run asks for.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from workbench.errors import UsageError

_NEEDED = (
    *("HOME", "USER", "LOGNAME", "PATH"),
    *("LD_LIBRARY_PATH", "LD_PRELOAD", "DYLD_LIBRARY_PATH", "DYLD_FALLBACK_LIBRARY_PATH"),
    *("VIRTUAL_ENV", "CONDA_PREFIX"),
    *("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE"),
)
_S3, _AZURE, _GOOGLE = ("AWS_",), ("AZURE_",), ("GOOGLE_", "CLOUDSDK_")
_STORES = {
    **dict.fromkeys(("s3", "s3a"), _S3),
    **dict.fromkeys(("az", "adl", "azure", "abfs", "abfss"), _AZURE),
    **dict.fromkeys(("gs", "gcs"), _GOOGLE),
    **dict.fromkeys(("http", "https"), (*_S3, *_AZURE, *_GOOGLE)),
}
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


def environment_of(folder: str, *, lake: str, asked: Iterable[str] = ()) -> dict[str, str]:
    """Return the environment of a run.

    Parameters
    ----------
    folder
        A directory of the run's own, for its sockets, settings and temporary files.
    lake
        The lake: where it lies in an object store, the variables by which that is reached are passed too.
    asked
        Further variables to pass.
    """
    prefixes = _STORES.get(lake.partition("://")[0].lower(), ()) if "://" in lake else ()
    proxies = _PROXIES if prefixes else ()
    passed = {*_NEEDED, *asked}
    kept = {name: value for name, value in os.environ.items() if name in passed or name.startswith(prefixes) or name.upper() in proxies}
    return {
        **kept,
        "PYTHONHASHSEED": "0",
        "PYTHONUTF8": "1",
        "PYTHONDONTWRITEBYTECODE": "",
        "IPYTHONDIR": folder,
        "JUPYTER_CONFIG_DIR": folder,
        "JUPYTER_NO_CONFIG": "1",
        "JUPYTER_RUNTIME_DIR": folder,
        "JUPYTER_PLATFORM_DIRS": "1",
        "PLOTLY_RENDERER": "plotly_mimetype",
        "TMPDIR": folder,
        "LANG": "C.UTF-8",
        "TZ": "UTC",
    }


def check_set(names: Iterable[str]) -> tuple[str, ...]:
    """Return the names of variables that a run asks for, sorted.

    Raises
    ------
    UsageError
        One of them is not set.
    """
    found = tuple(sorted(set(names)))
    for name in found:
        if name not in os.environ:
            raise UsageError(f"The environment variable {name} is not set, and the run asks for it: set it, or do not ask for it.")
    return found
