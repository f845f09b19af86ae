"""The reference that `make docs` writes from the code names everything that the code knows."""

from __future__ import annotations

import re
from pathlib import Path

import workbench as wb
from docs import pages_from_code
from docs.pages_from_code import command_pages, lake_pages, python_pages, yaml_pages
from workbench import errors
from workbench.events import EVENT_SCHEMA
from workbench.scenarios.scenario import EDITS


def test_every_public_name_has_one_entry() -> None:
    text = "\n".join(python_pages.pages().values())
    entries = re.findall(r"^\.\. auto(?:class|function|data):: workbench\.(\w+)$", text, flags=re.MULTILINE)
    modules = re.findall(r"^workbench\.(\w+)\n=+$", text, flags=re.MULTILINE)
    assert sorted(entries + [name for name in modules if name in wb.__all__]) == sorted(wb.__all__)


def test_every_error_has_an_entry() -> None:
    text = python_pages.pages()["wb_errors.rst"]
    for name, value in vars(errors).items():
        if isinstance(value, type) and issubclass(value, (errors.WorkbenchError, Warning)) and name not in wb.__all__:
            assert f".. autoexception:: workbench.errors.{name}\n" in text


def test_every_command_has_a_section_with_its_options() -> None:
    text = "\n".join(command_pages.pages().values())
    found = [(" ".join(path), command) for path, command in command_pages.commands()]
    assert len(found) > 30
    for path, command in found:
        section = text.partition(f"## workbench {path}\n")[2].partition("\n## ")[0]
        assert section, path
        for option in (one for parameter in command.params for one in parameter.opts if one.startswith("--") and one != "--help"):
            assert re.search(rf"^`.*{option}\b.*`$", section, flags=re.MULTILINE), (path, option)


def test_every_word_of_a_pipeline_and_every_edit_is_described() -> None:
    pages = yaml_pages.pages()
    for title, words in yaml_pages.pipeline_words():
        section = pages["pipelines.rst"].partition(f"{title}\n---")[2]
        for word in words:
            assert yaml_pages.described(word), word
            assert f"\n``{word}``" in section, word
    for edit in EDITS:
        assert f"``{edit}``\n^^^" in pages["scenarios.rst"]


def test_every_column_of_a_lake_is_named() -> None:
    text = lake_pages.pages()["index.rst"]
    for name in EVENT_SCHEMA.names:
        assert f"* - ``{name}``" in text


def test_pages_that_are_not_made_any_more_are_removed(tmp_path: Path) -> None:
    pages_from_code.write(tmp_path)
    made = sorted(tmp_path.rglob("*.*"))
    (tmp_path / "python" / "gone.rst").write_text("gone", encoding="utf-8")
    pages_from_code.write(tmp_path)
    assert sorted(tmp_path.rglob("*.*")) == made
