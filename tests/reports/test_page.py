"""A page is one file that shows text and results, loads nothing, and in which data is only ever text."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from hashlib import sha256
from html.parser import HTMLParser
from typing import Any

import nbformat
import plotly.graph_objects as go
import polars as pl
import pytest

from workbench.charts import distribution as distribution_chart
from workbench.display.tables import facts, table
from workbench.reports.page import render

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(1)><b>bold</b>&amp;"
FRAME = pl.DataFrame({"type": [HOSTILE, "</script><script>alert(2)</script>"], "count": [3, 1], "share": [0.75, 0.25]})


def results(*bundles: dict[str, Any], text: str = "# Title") -> Any:
    cells = [nbformat.v4.new_markdown_cell(text)]
    for bundle in bundles:
        output = nbformat.v4.new_output("display_data", bundle)
        cells.append(nbformat.v4.new_code_cell("secret_code()", outputs=[output]))
    return nbformat.v4.new_notebook(cells=cells)


def page_of(*bundles: dict[str, Any], text: str = "# Title", origin: tuple[tuple[str, str], ...] = ()) -> str:
    return render(results(*bundles, text=text), name="n", origin=origin)


def chart(*, question: str | None = None, caption: str = "") -> dict[str, Any]:
    return distribution_chart(FRAME, question=question, caption=caption)._repr_mimebundle_()


class Elements(HTMLParser):
    """The elements of a page: their tags, attributes and texts."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.texts.append((self.tags[-1] if self.tags else "", data))


def test_data_in_figures_tables_facts_title_and_footer_stays_text() -> None:
    page = page_of(
        chart(question=HOSTILE, caption=HOSTILE),
        {"text/html": table(FRAME, caption=HOSTILE)._repr_html_()},
        {"text/html": facts({HOSTILE: HOSTILE})._repr_html_()},
        {"text/markdown": f"Found {HOSTILE}"},
        {"text/plain": HOSTILE},
        origin=((HOSTILE, HOSTILE),),
    )
    elements = Elements(page)
    assert elements.tags.count("script") == 4  # the figure's data, the templates, Plotly, our own
    assert not {"img", "b"} & set(elements.tags)
    shown = "".join(text for tag, text in elements.texts if tag != "script")
    assert shown.count(HOSTILE) >= 8


def test_markup_of_a_title_does_not_reach_the_head() -> None:
    elements = Elements(page_of(text="# About </title><script>alert(1)</script> *it*"))
    assert ("title", "About </title><script>alert(1)</script> it") in elements.texts


def test_a_page_loads_nothing_and_lets_only_its_own_scripts_run() -> None:
    page = page_of(chart())
    elements = Elements(page)
    assert not [value for _, name, value in elements.attributes if name in ("src", "srcset", "action") or "//" in value]
    assert not re.search(r"@import|url\(", page.split("<body>")[0])
    policy = next(value for _, name, value in elements.attributes if name == "content" and "default-src" in value)
    scripts = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    assert len(scripts) == 2
    digests = " ".join(f"'sha256-{b64encode(sha256(script.encode()).digest()).decode()}'" for script in scripts)
    assert policy == (
        f"default-src 'none'; script-src {digests}; style-src 'unsafe-inline'; img-src data: blob:; base-uri 'none'; form-action 'none'"
    )
    assert not [name for _, name, _ in elements.attributes if name.startswith("on")]


def test_a_page_without_figures_carries_no_script() -> None:
    page = page_of({"text/plain": "1"})
    assert "<script" not in page
    assert "script-src 'none'" in page
    assert len(page) < 20_000


def test_a_page_shows_results_and_no_code() -> None:
    notebook = results({"text/plain": "42"})
    for tag in ("parameters", "injected-parameters"):
        cell = nbformat.v4.new_code_cell("x = 1", outputs=[nbformat.v4.new_output("display_data", {"text/plain": tag})])
        cell.metadata["tags"] = [tag]
        notebook.cells.append(cell)
    warning = nbformat.v4.new_output("stream", name="stderr", text="UserWarning: /home/someone")
    widget = {"application/vnd.jupyter.widget-view+json": {"model_id": "1"}, "text/plain": "a widget"}
    script = {"application/javascript": "alert(1)", "text/plain": "a script"}
    outputs = [warning, *(nbformat.v4.new_output("display_data", bundle) for bundle in (widget, script))]
    notebook.cells.append(nbformat.v4.new_code_cell("y", outputs=outputs))
    state = {"1": {"model_module": "m", "model_module_version": "1", "model_name": "M", "state": {}}}
    notebook.metadata["widgets"] = {"application/vnd.jupyter.widget-state+json": {"state": state, "version_major": 2}}
    page = render(notebook, name="n", origin=())
    assert "42" in page
    assert "a widget" in page
    assert "a script" in page
    for hidden in ("secret_code", "parameters", "UserWarning", "model_id", "alert", "In&nbsp;["):
        assert hidden not in page


def test_a_figure_stands_with_its_question_caption_and_numbers() -> None:
    page = page_of(chart(question="What grows?", caption="Source: here"))
    figure = page[page.index("<figure") : page.index("</figure>")]
    assert "<strong>What grows?</strong><span>Source: here</span></figcaption>" in figure
    assert '<th scope="col">Type</th>' in figure
    data = re.search(r'<script id="figure-1-data" type="application/json">(.*?)</script>', figure)
    assert data is not None
    content = json.loads(data[1])
    assert "title" not in content["layout"]
    assert "template" not in content["layout"]
    assert "Source: here" not in [note["text"] for note in content["layout"]["annotations"]]


def test_a_figure_that_is_not_ours_is_shown_too() -> None:
    figure = go.Figure(go.Scatter(x=[1, 2], y=[3, 4]), layout={"title": {"text": "Foreign &amp; plain"}, "meta": "text"})
    page = page_of({"application/vnd.plotly.v1+json": figure.to_plotly_json()})
    assert "<strong>Foreign &amp; plain</strong>" in page
    assert '"y":[3,4]' in page


def test_no_text_of_a_figure_can_end_the_script_that_holds_it() -> None:
    figure = go.Figure(go.Scatter(x=[1], y=[1], text=["</script><script>alert(1)</script>", "<!--<script>"]))
    elements = Elements(page_of({"application/vnd.plotly.v1+json": figure.to_plotly_json()}))
    assert elements.tags.count("script") == 4
    assert ("script", "alert(1)") not in elements.texts


def test_a_page_with_many_sections_lists_them() -> None:
    text = "# T\n## One\n## Two *a*\n## Three"
    page = page_of(text=text)
    assert '<h2 id="section-2">Two <em>a</em></h2>' in page
    assert '<a href="#section-2">Two <em>a</em></a>' in page
    assert "<nav" not in page_of(text="# T\n## One\n## Two")


def test_a_page_names_its_language_and_its_landmarks() -> None:
    elements = Elements(page_of(chart(), origin=(("Source", "here"),)))
    assert ("html", "lang", "en") in elements.attributes
    assert {"main", "footer", "h1", "figure", "figcaption", "table", "caption"} <= set(elements.tags)


@pytest.mark.parametrize("name", ["n", "<i>n</i>"])
def test_a_notebook_without_a_heading_gives_the_page_its_name(name: str) -> None:
    page = render(results(text="no heading"), name=name, origin=())
    assert ("title", name) in Elements(page).texts
