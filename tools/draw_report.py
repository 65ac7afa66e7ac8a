"""Draw the first part of a run's report, verdict and measurements, as the SVG picture that the README shows.

.venv/bin/python tools/draw_report.py RUN PICTURE.svg
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

from rich.console import Console

from deployprune.reporting.terminal import render_verification
from deployprune.rundir import RunDirectory
from deployprune.steps import MODEL, VERIFICATION


def main() -> None:
    """Draw the run named first into the file named second."""
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    run, picture = Path(sys.argv[1]), Path(sys.argv[2])
    console = Console(record=True, width=100, file=io.StringIO(), force_terminal=True)
    records = RunDirectory.view(run)
    name = Path(records.read(MODEL).model.source).name
    console.print(render_verification(records.read(VERIFICATION), name))
    picture.write_text(console.export_svg(title=f"deployprune compress {name}"), encoding="utf-8")


if __name__ == "__main__":
    main()
