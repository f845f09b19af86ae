"""``workbench check``: checks the files of pipelines and scenarios."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from workbench.cli import options
from workbench.cli.lines import printable, say

if TYPE_CHECKING:
    from collections.abc import Sequence

    from workbench.errors import UsageError
    from workbench.jobs import Pipeline


def register(app: typer.Typer) -> None:
    @options.command(app, example="workbench check pipelines/nightly.yaml")
    def check(
        files: Annotated[
            list[Path] | None,
            typer.Argument(metavar="[FILES]", help="Pipelines or scenarios. Without any: pipelines/*.yaml and pipelines/scenarios/*.yaml."),
        ] = None,
    ) -> None:
        """Check pipelines and scenarios: each word, time, zone, notebook and parameter; errors name file, line and column.

        Opens no lake and no source, and runs nothing. The exit status is 2 if anything is wrong.
        """
        from workbench.jobs import find_pipelines, overwriting

        found = list(files or [*find_pipelines(), *sorted(Path("pipelines/scenarios").glob("*.yaml"))])
        wrong: list[UsageError] = []
        pipelines: list[Pipeline] = []
        for file in found:
            pipeline, errors = _check(file)
            wrong += errors
            pipelines += [] if pipeline is None else [pipeline]
        wrong += overwriting(job for pipeline in pipelines for job in pipeline.jobs)
        if wrong:
            for error in wrong[:-1]:
                say(f"workbench: {printable(str(error))}", error=True)
            options.fail(str(wrong[-1]), status=2)


def _check(file: Path) -> tuple[Pipeline | None, Sequence[UsageError]]:
    """Check one file, and print its name and kind."""
    import yaml

    from workbench.errors import UsageError
    from workbench.jobs import check_pipeline
    from workbench.scenarios import Scenario
    from workbench.strict_yaml import Document

    try:
        root = Document.open(file, kind="a pipeline", holds="jobs").root
        if isinstance(root, yaml.MappingNode) and "edits" in [key.value for key, _ in root.value]:
            print(f"{file}: scenario {Scenario.load(file).name}")
            return None, []
    except UsageError as error:
        return None, [error]
    pipeline, errors = check_pipeline(file)
    if pipeline is not None:
        jobs = ", ".join(job.name.partition("/")[2] for job in pipeline.jobs)
        needs = f"; needs {', '.join(pipeline.variables)} in the environment" if pipeline.variables else ""
        print(f"{file}: pipeline {pipeline.name}, with {jobs}{needs}")
    return pipeline, errors
