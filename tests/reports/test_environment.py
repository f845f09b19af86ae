"""A notebook sees the environment variables that it needs, and no secret of whoever runs it."""

from __future__ import annotations

import json
import os
import re
from html import unescape
from pathlib import Path

import pytest

from tests.lakes import community, write_lake
from tests.reports.notebooks import write_notebook
from workbench.errors import UsageError
from workbench.reports import read_record, run_report
from workbench.reports.environment import environment_of

SECRETS = {
    "KURRENTDB_PASSWORD": "hush-1",
    "WORKBENCH_SOURCE": "esdb://ops:hush-2@db.example:2113",
    "AWS_SECRET_ACCESS_KEY": "hush-3",
    "AZURE_STORAGE_ACCOUNT_KEY": "hush-4",
    "GOOGLE_SERVICE_ACCOUNT_KEY": "hush-5",
    "https_proxy": "http://me:hush-6@proxy.example",
    "A_TOKEN": "hush-7",
}


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)


def test_a_notebook_that_prints_its_environment_puts_no_secret_on_the_page(tmp_path: Path) -> None:
    lake = write_lake(tmp_path / "lake", community(20))
    notebook = write_notebook(tmp_path / "n.ipynb", "import json, os\nprint('<<', json.dumps(dict(os.environ)), '>>')")
    run = run_report(notebook, lake=lake, runs=tmp_path / "runs", environment=["A_TOKEN"])
    page = unescape(run.page.read_text(encoding="utf-8"))
    found = re.search(r"<< (.*?) >>", page, re.DOTALL)
    assert found is not None
    seen = json.loads(found[1])
    assert {name for name in SECRETS if name in seen} == {"A_TOKEN"}
    assert [secret for secret in SECRETS.values() if secret in page] == ["hush-7"]
    assert (seen["PATH"], seen["HOME"]) == (os.environ["PATH"], os.environ["HOME"])
    assert run.directory is not None
    assert read_record(run.directory).asked.environment == ("A_TOKEN",)
    assert "hush" not in (run.directory / "run.json").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("lake", "passed"),
    [
        ("/lakes/orders", set()),
        ("s3://bucket/orders", {"AWS_SECRET_ACCESS_KEY", "https_proxy"}),
        ("abfss://orders@account.dfs.core.windows.net", {"AZURE_STORAGE_ACCOUNT_KEY", "https_proxy"}),
        ("gs://bucket/orders", {"GOOGLE_SERVICE_ACCOUNT_KEY", "https_proxy"}),
    ],
)
def test_only_a_lake_in_an_object_store_brings_the_variables_of_that_store(tmp_path: Path, lake: str, passed: set[str]) -> None:
    assert {name for name in environment_of(str(tmp_path), lake=lake) if name in SECRETS} == passed


def test_a_variable_that_is_asked_for_and_not_set_is_refused_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="The environment variable NOT_SET is not set, and the run asks for it"):
        run_report("event_types", lake=tmp_path / "lake", out=tmp_path / "r.html", environment=["NOT_SET"])
