"""``workbench upgrade``: upgrades a lake of an older format to the present one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workbench.cli import options

if TYPE_CHECKING:
    import typer


def register(app: typer.Typer) -> None:
    @options.command(app, example="workbench upgrade --lake data/demo")
    def upgrade(lake: options.Lake) -> None:
        """Upgrade a lake of an older format in place, as its next export would do.

        No event is read or written. Older workbenches refuse the lake afterwards.
        """
        from workbench.lake import LakeWriter
        from workbench.lake.files.format import FORMAT_VERSION

        with LakeWriter.reopen(lake) as writer:
            upgraded = writer.upgrade()
        print(f"{lake} {'is now' if upgraded else 'was already'} a lake of format {FORMAT_VERSION}")
