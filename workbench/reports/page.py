"""Makes one HTML file from an executed notebook; it opens anywhere, offline, years later.

The page holds what a reader wants of the notebook, its text and its results, and no code. Charts stay data: the page's one script
draws them with the Plotly that is in the page, in the colours of the reader's scheme. The content policy lets run these two
scripts, named by their digests, and nothing else, and lets nothing be loaded.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode
from copy import deepcopy
from dataclasses import replace
from hashlib import sha256
from html import escape, unescape
from pathlib import Path
from typing import Any

from nbconvert.exporters import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from plotly.offline import get_plotlyjs

from workbench.charts import CAPTION, PALETTES, PLOTLY_CONFIG, template
from workbench.display.tables import STYLE, Table
from workbench.errors import ReportError
from workbench.reports.notebook_files import title_of
from workbench.reports.references import with_images, with_links

_PLOTLY = "application/vnd.plotly.v1+json"
_WIDGET = "application/vnd.jupyter.widget-view+json"
_HIDDEN = frozenset({"parameters", "injected-parameters"})
_TEMPLATE = Path(__file__).parent / "template"


def render(notebook: Any, *, name: str, origin: tuple[tuple[str, str], ...], code: bool = False, folder: Path | None = None) -> str:
    """Return an executed notebook as an HTML page.

    Parameters
    ----------
    notebook
        The notebook as papermill returns it (``nbformat.NotebookNode``). It is not changed.
    name
        The title of a page whose notebook has no heading.
    origin
        Names and values that stand at the foot of the page.
    code
        Whether the code of each cell can be unfolded above its results.
    folder
        The notebook's, from which images are read.
    """
    notebook = deepcopy(notebook)
    notebook.cells = [cell for cell in notebook.cells if not _HIDDEN & set(cell.metadata.get("tags", ()))]
    figures = _replace_figures(notebook)
    scripts = _scripts(figures)
    digests = " ".join(f"'sha256-{b64encode(sha256(script.encode()).digest()).decode()}'" for script in scripts) or "'none'"
    report = {
        "title": title_of(notebook.cells) or name,
        "code": code,
        "css": _css(),
        "origin": origin,
        "policy": f"default-src 'none'; script-src {digests}; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'",
        # The exporter parses the page; five megabytes of script need not go through that.
        "scripts": "<!--scripts-->",
    }
    exporter = HTMLExporter(
        template_name=_TEMPLATE.name,
        extra_template_basedirs=[str(_TEMPLATE.parent)],
        exclude_anchor_links=True,
        exclude_input=True,
        exclude_input_prompt=True,
        exclude_output_prompt=True,
        filters={"untrusted_markdown": _untrusted_markdown},
    )
    page, _ = exporter.from_notebook_node(notebook, resources={"report": report})
    # What may be wider than the page is scrolled, also by keyboard.
    page = page.replace("<pre>", '<pre tabindex="0">')
    page = with_links(page if folder is None else with_images(page, folder))
    return _with_scripts(_with_contents(page), figures, scripts)


def _css() -> str:
    css = (_TEMPLATE / "report.css").read_text(encoding="utf-8")
    for ground in ("light", "dark"):
        colours = {**PALETTES[ground], "accent": PALETTES[ground]["series"][0]}
        css = re.sub(rf"{ground.upper()}-(\w+)", lambda match, colours=colours: str(colours[match[1]]), css)  # type: ignore[misc]
    return STYLE.strip().removeprefix("<style>").removesuffix("</style>") + css


def _replace_figures(notebook: Any) -> int:
    """Put a figure of the page in the place of each Plotly output, drop what a page cannot show, and count the figures."""
    number = 0
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        # What goes to standard error, warnings and progress bars, is for whoever runs the notebook.
        cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
        for output in cell.outputs:
            data = output.get("data", {})
            data.pop(_WIDGET, None)
            if _PLOTLY in data:
                number += 1
                output.data = {"text/html": _figure(data[_PLOTLY], number)}
            elif "text/html" in data:
                data["text/html"] = data["text/html"].replace(STYLE, "")
            # Scripts that a cell puts out would not run.
            data.pop("application/javascript", None)
    return number


def _figure(content: dict[str, Any], number: int) -> str:
    """Return a chart as a figure whose title, caption and numbers are text of the page."""
    layout = dict(content.get("layout", {}))
    meta = layout.pop("meta", None)
    ours = meta if isinstance(meta, dict) and "numbers" in meta else None
    title = layout.pop("title", None) or {}
    # Plotly reads markup in a title, so ours is escaped; on the page it is escaped once more, as all text is.
    heading = unescape(title if isinstance(title, str) else title.get("text") or "") or f"Figure {number}"
    caption = f"<span>{escape(ours['caption'])}</span>" if ours else ""
    layout["annotations"] = [note for note in layout.get("annotations", ()) if note.get("name") != CAPTION]
    layout.pop("template", None)
    layout.pop("width", None)
    layout.pop("autosize", None)
    height = layout.setdefault("height", 450)
    numbers = ""
    if ours:
        # The room that the chart keeps for its title and its caption is not needed here.
        margin = layout["margin"]
        slim = {**margin, "t": 24 if layout.get("showlegend") else 8, "b": 8}
        height += slim["t"] - margin["t"] + slim["b"] - margin["b"]
        layout.update(height=height, margin=slim)
        table = replace(Table.from_json(ours["numbers"]), caption=f"The numbers of figure {number}")
        numbers = f"<details><summary>The numbers</summary>{table.to_html()}</details>"
    content = {"data": content.get("data", []), "layout": layout}
    return (
        f'<figure class="chart" id="figure-{number}"><figcaption><strong>{escape(heading)}</strong>'
        f"{caption}</figcaption>"
        f'<div class="plot" style="height:{height}px"></div>'
        f'<script type="application/json" id="figure-{number}-data">{_json(content)}</script>{numbers}</figure>'
    )


def _scripts(figures: int) -> list[str]:
    return [get_plotlyjs(), (_TEMPLATE / "report.js").read_text(encoding="utf-8")] if figures else []


def _with_scripts(page: str, figures: int, scripts: list[str]) -> str:
    before, mark, after = page.rpartition("<!--scripts-->")
    if not mark:
        raise ReportError("The page has lost the place of its scripts.")
    shared = {"templates": {ground: template(ground) for ground in PALETTES}, "config": dict(PLOTLY_CONFIG)}
    parts = [f'<script type="application/json" id="charts">{_json(shared)}</script>'] if figures else []
    parts += [f"<script>{script}</script>" for script in scripts]
    return before + "\n".join(parts) + after


def _with_contents(page: str) -> str:
    """Put links to the page's sections under its title if there are enough of them to need it."""
    headings = re.findall(r'<h2 id="(section-[0-9]+)">(.*?)</h2>', page, flags=re.DOTALL)
    if len(headings) < 3:
        return page
    links = "".join(f'<li><a href="#{name}">{heading}</a></li>' for name, heading in headings)
    return page.replace("</h1>", f'</h1>\n<nav aria-label="Contents"><ul>{links}</ul></nav>', 1)


def _json(value: Any) -> str:
    """Return JSON that can stand inside a script element: nothing in it closes the element."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def _untrusted_markdown(text: str) -> str:
    """Return Markdown that a cell put out as HTML; markup in it, which may come from the data, stays text."""
    renderer = IPythonRenderer(escape=True, allow_harmful_protocols=False, exclude_anchor_links=True)
    return str(MarkdownWithMath(renderer=renderer).render(text))
