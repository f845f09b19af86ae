"""Try mutants of the workbench: small changes to its code, each of which some test should notice. ``make mutants`` runs this.

A seeded sample of the mutants of some packages is tried, each with the tests that run the changed lines, in copies of the checkout. First
comes a map of what tests run, which is gathered where it is not known and kept in ``.mutants``. What survives is printed as a diff, and
written to ``.mutants/summary.md``: a survivor is a test that is missing, or code that could as well be otherwise.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from threading import Event
from types import FrameType

from tests.mutants.copies import Copy, Stopped, files_of
from tests.mutants.coverage_map import PACKAGE, TestsFailed, gather, test_files
from tests.mutants.trial import Tried, Verdict, mutants_in, sample, try_all

PACKAGES = ("kurrent", "lake", "projection", "fold", "jobs")
TESTS = tuple(f"tests/{name}" for name in ("kurrent", "export", "lake", "timeline", "projection", "fold", "materialised", "replay", "jobs"))
"""The folders whose tests are held against the packages; what else reaches them is slower and says less."""


def main(words: Sequence[str] | None = None, *, checkout: Path | None = None) -> int:
    """Do what the command line asks for; return the exit status."""
    options = _options(words)
    checkout = checkout or Path(__file__).parents[2]
    files = files_of(checkout)
    modules: list[str] = []
    for package in options.package or PACKAGES:
        found = [name for name in files if name.endswith(".py") and Path(name).is_relative_to(f"{PACKAGE}/{package}")]
        if not found and options.package:
            there = sorted({Path(name).parts[1] for name in files if name.startswith(f"{PACKAGE}/") and len(Path(name).parts) > 2})
            print(f"There is no package {PACKAGE}/{package}; there are {', '.join(there)}.", file=sys.stderr)
            return 2
        if not found:
            _say(f"There is no package {PACKAGE}/{package}: it is left out.")
        modules += found
    tests = test_files(checkout, among=options.tests or TESTS)
    if not tests:
        print(f"There are no tests under {', '.join(options.tests or TESTS)}.", file=sys.stderr)
        return 2
    mutants = mutants_in(checkout, set(modules))
    mine = sample(mutants, count=options.sample, seed=options.seed)
    _say(f"{len(mine)} of {len(mutants)} mutants in {len(set(modules))} modules, seed {options.seed}.")

    stop = Event()

    def on_signal(number: int, frame: FrameType | None) -> None:
        stop.set()

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    copies = [Copy(checkout, stop=stop) for _ in range(options.workers)]
    tried: list[Tried] = []
    try:
        known = gather(checkout, copies, files=tests, cache=checkout / ".mutants" / "map", told=_say, fresh=options.fresh)

        def tell(one: Tried) -> None:
            tried.append(one)
            place = f"{one.mutant.path}:{one.mutant.line}"
            what = f"{one.mutant.operator}, {one.tests} of {one.reaching} tests, {one.seconds:.0f} s"
            _say(f"[{len(tried):3}/{len(mine)}] {one.verdict:11} {place}  ({what})")

        try_all(mine, copies, known, limit=options.seconds, minutes=options.minutes, stop=stop, told=tell)
    except Stopped:
        pass
    except TestsFailed as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        for copy in copies:
            copy.close()
        for number, handler in before.items():
            signal.signal(number, handler)
    summary = _summary(tried, chosen=len(mine), seed=options.seed, checkout=checkout)
    (checkout / ".mutants").mkdir(exist_ok=True)
    (checkout / ".mutants" / "summary.md").write_text(summary, encoding="utf-8")
    print(summary, end="")
    return 130 if stop.is_set() else 0


def _options(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m tests.mutants", description="Try a seeded sample of mutants of the workbench.")
    parser.add_argument("--package", action="append", metavar="NAME", help=f"a folder or module of {PACKAGE}; again for more")
    parser.add_argument("--tests", action="append", metavar="PATH", help="a folder or file of tests; again for more")
    parser.add_argument("--sample", type=int, default=300, metavar="COUNT", help="how many mutants to try (300)")
    parser.add_argument("--seed", type=int, default=16, help="which ones (16)")
    parser.add_argument("--minutes", type=float, default=90, help="how long to try mutants; the map is not part of it (90)")
    parser.add_argument("--seconds", type=float, default=60, help="how long the tests of one mutant may take (60)")
    parser.add_argument(
        "--workers", type=int, default=os.cpu_count() or 1, metavar="COUNT", help="how many run at once (one for each core)"
    )
    parser.add_argument("--fresh", action="store_true", help="gather the map of what tests run anew")
    return parser.parse_args(words)


def _say(text: str) -> None:
    print(text, flush=True)


def _summary(tried: Sequence[Tried], *, chosen: int, seed: int, checkout: Path) -> str:
    """Return a table of what was tried, by package, and the diffs of what survived."""
    verdicts: tuple[Verdict, ...] = ("killed", "timed out", "survived", "not reached")
    packages = sorted({_package(one) for one in tried})
    counts = Counter((_package(one), one.verdict) for one in tried)
    lines = ["# Mutants", "", f"{len(tried)} of {chosen} were tried, seed {seed}.", ""]
    lines += [f"| package | {' | '.join(verdicts)} |", f"|---|{'---:|' * len(verdicts)}"]
    lines += [f"| {package} | {' | '.join(str(counts[package, verdict]) for verdict in verdicts)} |" for package in packages]
    for one in sorted((one for one in tried if one.verdict in ("survived", "not reached")), key=lambda one: one.mutant):
        reached = f"{one.tests} of the {one.reaching} tests that reach it passed" if one.reaching else "no test reaches it"
        text = (checkout / one.mutant.path).read_text(encoding="utf-8")
        lines += ["", f"## {one.mutant.path}:{one.mutant.line}", "", f"{one.mutant.operator}: {reached}.", ""]
        lines += ["```diff", one.mutant.diff(text).rstrip(), "```"]
    return "\n".join(lines) + "\n"


def _package(one: Tried) -> str:
    return Path(one.mutant.path).parts[1].removesuffix(".py")


if __name__ == "__main__":
    sys.exit(main())
