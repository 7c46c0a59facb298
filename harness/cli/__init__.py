"""The command line: parse, call, show, and map errors to exit codes.

Exit codes: 0 done; 1 failed; 2 wrong usage; 3 done, but other bits, slower than before, or worse than claimed; 4 some runs failed, diverged, were skipped or were stopped, or some models
cannot be had; 130 interrupted; 143 terminated.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from harness import __version__
from harness.cli import bundling, evidence, findings, profiling, training, verdicts
from harness.cli.inspection import data_app, models_app, results_app
from harness.errors import HarnessError

__all__ = ["app", "main"]

app = typer.Typer(
    name="harness",
    help="Is this ResNet-20 the network of the paper, does it reach the published number, what does it cost, "
    "and would the same seed give the same bits again?",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(training.plan)
app.command()(training.reproduce)
app.command()(training.run)
app.command()(evidence.identify)
app.command()(evidence.audit)
app.command()(evidence.verify)
app.command()(profiling.profile)
app.command()(verdicts.verdicts)
app.command()(verdicts.compare)
app.command()(verdicts.report)
app.command()(findings.findings)
app.command()(bundling.bundle)
app.command()(bundling.unbundle)
app.add_typer(data_app, name="data")
app.add_typer(results_app, name="results")
app.add_typer(models_app, name="models")


def main() -> None:
    """Run the command line; a `HarnessError` becomes one line on stderr and its exit code."""
    try:
        app()
    except HarnessError as error:
        sys.stderr.write(f"harness: {error}\n")
        sys.exit(error.exit_code)


@app.callback(invoke_without_command=True)
def _version(
    *,
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", is_eager=True)
    ] = False,
) -> None:
    if version:
        sys.stdout.write(f"harness {__version__}\n")
        raise typer.Exit
