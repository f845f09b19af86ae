"""Every shell and Python block of the documents works as it stands there, in the order of reading."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.documents.blocks import ROOT, Reader, blocks_of, commands_of
from tests.documents.replaced import REPLACED
from tests.stores import Store
from workbench.cli.demo import make_lake
from workbench.embedded import EmbeddedStore

DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(page for page in DOCS.rglob("*.md") if "reference" not in page.parts)]
TUTORIAL = sorted(DOCS.glob("tutorial/*.md"))
"""Parts that go on from each other."""
CONTAINER = DOCS / "how_to" / "kurrentdb_container.md"
"""The page that is read against whichever event store the tests run against."""


def is_run(page: Path) -> bool:
    return any(block.language in ("sh", "python") for block in blocks_of(page))


READINGS = [TUTORIAL, *([page] for page in PAGES if page not in [*TUTORIAL, CONTAINER] and is_run(page))]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what ``workbench demo`` makes, on fewer events and without its report, and with the pipelines of a checkout."""
    folder = tmp_path_factory.mktemp("documents")
    make_lake(folder / "data", events=3000)
    shutil.copytree(ROOT / "pipelines", folder / "pipelines")
    return folder


@pytest.fixture
def reader(demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Reader]:
    """A reader in a copy of that folder, whose store answers at the addresses that the documents name."""
    folder = tmp_path / "checkout"
    shutil.copytree(demo, folder)
    monkeypatch.chdir(folder)
    kept = dict(os.environ)
    os.environ.update(COLUMNS="200", PWD=str(folder), DLT_DATA_DIR=str(tmp_path / "dlt"))
    served = shutil.copytree(demo / "data" / "store", tmp_path / "served")
    with EmbeddedStore(served) as filled, EmbeddedStore() as empty:
        addresses = {"esdb://db.example:2113?tls=true&tlsCaFile=ca.crt": filled.uri, "esdb://empty:2113": empty.uri}
        yield Reader(folder, REPLACED, addresses)
    os.environ.clear()  # of what the documents exported
    os.environ.update(kept)


@pytest.mark.parametrize("pages", READINGS, ids=lambda pages: pages[0].stem if len(pages) == 1 else "tutorial")
def test_a_document_works_from_its_first_block_to_its_last(pages: list[Path], reader: Reader) -> None:
    for page in pages:
        reader.read(page)


@pytest.mark.needs("fresh server")
def test_the_way_with_a_container_works_step_by_step(
    store: Store, new_store: Callable[..., Store], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store stands in for the container, and another for that of its last command, which wants an empty one."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    commands = [command for block in blocks_of(CONTAINER) if block.language == "sh" for command in commands_of(block)]
    assert [command.split()[1] for command in commands if command.startswith("workbench ")][:3] == ["sample", "export", "info"]
    Reader(tmp_path, REPLACED, {"esdb://127.0.0.1:2113?tls=false": store.uri, "esdb://empty:2113": new_store().uri}).read(CONTAINER)
    assert (tmp_path / "data" / "container.html").exists()


def test_what_is_replaced_stands_in_a_document() -> None:
    lines = {line.strip() for page in PAGES for block in blocks_of(page) if block.language == "python" for line in block.text.splitlines()}
    lines |= {command.strip() for page in PAGES for block in blocks_of(page) if block.language == "sh" for command in commands_of(block)}
    assert [line for line in REPLACED if line not in lines] == []
