"""The widget behind ``travel``. The only module that needs anywidget."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import anywidget
import polars as pl
import traitlets

from workbench.errors import UsageError, WorkbenchError
from workbench.jupyter.film import Film
from workbench.jupyter.still import still
from workbench.timeline import Timeline

_FOLDER = Path(__file__).parent


class Travel(anywidget.AnyWidget):
    """One entity's history on the screen. Made by ``wb.travel``.

    Attributes
    ----------
    index
        Which event is shown, from 0. Follows the viewer, and moves it when it is set.
    baseline
        The event after which the state was that one compares with; None for the event before the one that is shown.
    """

    _esm = _FOLDER / "travel.js"
    _css = _FOLDER / "travel.css"
    _film = traitlets.Bytes().tag(sync=True)
    index = traitlets.Int(0).tag(sync=True)
    baseline = traitlets.Int(None, allow_none=True).tag(sync=True)

    def __init__(
        self, film: Film, *, name: str, key: str, timeline: Timeline, against: Timeline | None, index: int, baseline: int | None
    ) -> None:
        self._shown = film
        self._timeline = timeline
        self._timelines = [timeline] if against is None else [timeline, against]
        self._title = f"{name} {key}"
        self._labels = ("As recorded" if not timeline.edits else "This history", "What if")[: len(film.there)]
        super().__init__(_film=film.pack(title=self._title, labels=self._labels), index=index, baseline=baseline)
        self.on_msg(self._answer)

    @property
    def steps(self) -> pl.DataFrame:
        """The events, as ``wb.steps`` gives them."""
        return self._shown.steps

    @property
    def timeline(self) -> Timeline:
        """The history up to the event that is shown."""
        return self._timeline.upto(position=int(self.steps["position"][self.index]))

    def payloads(self, index: int) -> list[dict[str, str]]:
        """Return what an event says, in each history in which it stands: ``label``, ``data`` and ``metadata``, as text."""
        stream, position, prepare = self.steps.select("stream", "position", "prepare_position").row(index)
        here = (pl.col("position") == position) & (pl.col("prepare_position") == prepare) & (pl.col("stream") == stream)
        said: list[dict[str, str]] = []
        for label, timeline in zip(self._labels, self._timelines, strict=True):
            rows = replace(timeline, after_position=None, selections=()).streams(stream).events().filter(here).collect()
            told = ({name: _text(row[name], row[f"{name}_bytes"]) for name in ("data", "metadata")} for row in rows.to_dicts())
            said.extend({"label": label, **one} for one in told)
        return said

    def _answer(self, _: Any, content: Any, __: Any) -> None:
        """Answer the viewer, which asks for what an event says only where that is looked at."""
        if not isinstance(content, dict) or content.get("asks") != "payloads":
            return
        index = content["index"]
        try:
            self.send({"index": index, "payloads": self.payloads(index)})
        except WorkbenchError as error:
            self.send({"index": index, "error": str(error)})

    @traitlets.validate("index", "baseline")  # type: ignore[untyped-decorator]  # mypy does not follow traitlets here
    def _is_event(self, proposal: Any) -> Any:
        value = proposal["value"]
        if value is not None and not 0 <= value < len(self._shown):
            raise UsageError(f"There is no event {value}: this history has events 0 to {len(self._shown) - 1}.")
        return value

    def _repr_html_(self) -> str:
        return still(
            self._shown, title=self._title, place=str(self._timeline), index=self.index, baseline=self.baseline, labels=self._labels
        )

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]] | None:
        # Exporters drop the view of a widget, and show what stands beside it.
        bundle = super()._repr_mimebundle_(**kwargs)
        if bundle is None:
            return None
        data, metadata = bundle
        return {**data, "text/html": self._repr_html_()}, metadata

    def __repr__(self) -> str:
        position = self.steps["position"][self.index]
        return f"<Travel of {self._title}: event {self.index + 1:,} of {len(self._shown):,}, position {position}>"


def _text(text: str | None, raw: bytes | None) -> str:
    return text if text is not None else "" if raw is None else f"({len(raw):,} bytes that are no JSON)"
