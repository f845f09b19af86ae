"""Images beside a notebook are in its page, others are named, and links to headings lead there."""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from pathlib import Path

import nbformat

from workbench.reports.page import render

PIXEL = b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==")


def page_of(folder: Path, *texts: str, html: str = "") -> str:
    cells = [nbformat.v4.new_markdown_cell(text) for text in texts]
    if html:
        cells.append(nbformat.v4.new_code_cell("", outputs=[nbformat.v4.new_output("display_data", {"text/html": html})]))
    return render(nbformat.v4.new_notebook(cells=cells), name="n", origin=(), folder=folder)


def test_an_image_by_a_relative_path_is_in_the_page(tmp_path: Path) -> None:
    (tmp_path / "notebooks").mkdir()
    for place in ("notebooks/our logo.png", "above.png"):
        (tmp_path / place).write_bytes(PIXEL)
    texts = ("# T\n\n![a logo](our%20logo.png)", "<img src='../above.png' width=10>")
    page = page_of(tmp_path / "notebooks", *texts, html='<p><img alt="x" src="our logo.png"></p>')
    embedded = f'src="data:image/png;base64,{b64encode(PIXEL).decode()}"'
    assert page.count(embedded) == 3
    assert f'<img alt="a logo" {embedded}/>' in page
    assert re.search(r'<img [^>]*width="10"', page)
    assert "Image not shown" not in page


def test_an_image_that_the_page_cannot_take_in_is_named(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hush", encoding="utf-8")
    sources = ("https://example.org/a.png", "//example.org/b.png", "/etc/c.png", "missing.png", "notes.txt", "file:///etc/d.png")
    page = page_of(tmp_path, "# T", *(f"![the & chart]({source})" for source in sources))
    assert "<img" not in page
    for source in sources:
        assert f"Image not shown: the &amp; chart ({source}). The page loads nothing" in page
    assert "hush" not in page


def test_links_to_headings_lead_there(tmp_path: Path) -> None:
    links = "[a](#How-many?) [b](#how-many) [c](#Users-&-rooms) [d](#%C3%9Cberall) [e](#own) [f](#nowhere)"
    page = page_of(tmp_path, f"# T\n\n{links}", "## How many?", "### Users & rooms", "## Überall `code`", "## Überall", '<a id="own"></a>')
    targets = {letter: target for target, letter in re.findall(r'<a href="#([^"]*)">([a-f])</a>', page)}
    assert targets == {"a": "section-1", "b": "section-1", "c": "heading-2", "d": "section-3", "e": "own", "f": "nowhere"}
    for target in ("section-1", "heading-2", "section-3", "own"):
        assert page.count(f'id="{target}"') == 1
    assert '<h2 id="section-1">How many?</h2>' in page
