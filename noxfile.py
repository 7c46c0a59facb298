"""Every task of the project: ``nox -l`` lists them. Dependencies come from requirements.lock, by hash."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import nox

nox.needs_version = ">=2025.5.1"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.reuse_existing_virtualenvs = True
nox.options.sessions = ["lint", "types", "tests"]

LOCK = "requirements.lock"
SECONDS_TO_WRITE_CHECKPOINTS = 60
SECONDS_OF_A_TEST = 600
"""What takes longer than this hangs, and says where it does; the slowest takes one minute."""
GENERATED = (
    "README.md",
    "results/README.md",
    "docs/faults.md",
    "docs/guide.md",
    "docs/speed.md",
    "docs/scaling.md",
    "docs/decisions/0005-intervals-of-timings.md",
)
"""Documents with blocks that follow from the published records; docs/findings.md follows as a whole."""
COMPILED = {"UV_COMPILE_BYTECODE": "1"}
"""Once, for all the processes that import it; pip does so by itself."""


def install(session: nox.Session) -> None:
    """Everything at its locked version, then the harness itself from this folder."""
    session.install("--require-hashes", "-r", LOCK, env=COMPILED)
    session.install("--no-deps", "--no-build-isolation", "-e", ".")


@nox.session
def reproduce(session: nox.Session) -> None:
    """Train and record an experiment, and write the report: nox -s reproduce -- [EXPERIMENT] [OPTIONS]."""
    install(session)
    session.run(
        "harness",
        "reproduce",
        "--report",
        *session.posargs,
        interrupt_timeout=SECONDS_TO_WRITE_CHECKPOINTS,
    )


@nox.session
def tests(session: nox.Session) -> None:
    """Run the test suite in two processes; arguments after -- go to pytest."""
    install(session)
    session.run("pytest", "-n", "2", f"--timeout={SECONDS_OF_A_TEST}", *session.posargs)


@nox.session
def gpu(session: nox.Session) -> None:
    """Run the tests that need a CUDA device, and say so where there is none; arguments after -- go to pytest."""
    install(session)
    session.run("pytest", "tests/gpu", "-m", "gpu", *session.posargs)


@nox.session
def faults(session: nox.Session) -> None:
    """Kill, fill the disk, damage and deceive at full size, in a quarter of an hour; shows a table of what was reached."""
    install(session)
    report = Path(session.create_tmp()).resolve() / "faults.json"
    session.run("pytest", "tests/faults", f"--faults-report={report}", *session.posargs)


@nox.session
def benchmarks(session: nox.Session) -> None:
    """Time the harness beside what people run today, and record it; arguments after -- go to pytest."""
    install(session)
    report = Path(session.create_tmp()).resolve() / "benchmarks.json"
    session.run("pytest", "--benchmark-only", f"--benchmark-json={report}", *session.posargs)
    session.run("harness", "results", "import-benchmarks", str(report))


@nox.session
def documents(session: nox.Session) -> None:
    """Write what the documents say of the published records anew, with its pictures; needs Chromium."""
    install(session)
    session.run(
        "harness", "findings", "--results", "results/published", "--pictures", "docs/pictures", "--output", "docs/findings.md",
    )  # fmt: skip
    session.run("cog", "-r", "-I", "docs", "-p", "from blocks import *", *GENERATED)


@nox.session
def dashboard(session: nox.Session) -> None:
    """Show the records in a browser: nox -s dashboard -- [--results DIR ...]."""
    install(session)
    session.run("streamlit", "run", "dashboard/app.py", "--", *session.posargs)


@nox.session
def browser(session: nox.Session) -> None:
    """Try the dashboard and the report in Chromium, and keep screenshots; arguments after -- go to pytest."""
    install(session)
    folder = Path(session.create_tmp()).resolve() / "screenshots"
    session.log(f"screenshots: {folder}")
    session.run(
        "pytest",
        "tests/browser",
        "tests/findings/test_pictures.py",
        "--browser",
        "-m",
        "browser",
        f"--screenshots={folder}",
        *session.posargs,
    )


@nox.session
def cluster(session: nox.Session) -> None:
    """Run experiments on a simulated Ray cluster that loses a node; arguments after -- go to pytest."""
    install(session)
    session.run("pytest", "tests/execution", "--cluster", "-m", "cluster", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and formatting."""
    install(session)
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """Check types, strictly."""
    install(session)
    session.run("mypy")


@nox.session(venv_backend="none")
def dev(session: nox.Session) -> None:
    """Make .venv with everything, for working on the harness."""
    python = Path(".venv", "Scripts" if sys.platform == "win32" else "bin", "python")
    if shutil.which("uv"):
        if not python.exists():
            session.run("uv", "venv", ".venv", external=True)
        pip = ("uv", "pip", "install", "--python", str(python))
    else:
        if not python.exists():
            session.run(sys.executable, "-m", "venv", ".venv", external=True)
        pip = (str(python), "-m", "pip", "install")
    session.run(*pip, "--require-hashes", "-r", LOCK, env=COMPILED, external=True)
    session.run(*pip, "--no-deps", "--no-build-isolation", "-e", ".", external=True)
    session.log(f"activate it, or use {python.parent / 'harness'} directly")


@nox.session(venv_backend="none")
def lock(session: nox.Session) -> None:
    """Pin the newest versions of everything anew, for every platform, with hashes and without hosts."""
    session.run(
        "uv", "pip", "compile", "--universal", "--python-version", "3.11", "--generate-hashes", "--upgrade",
        "--custom-compile-command", "nox -s lock",
        "--extra", "references", "--extra", "dashboard", "--extra", "ray", "--extra", "s3", "--group", "dev", "pyproject.toml", "--output-file", LOCK,
        external=True, silent=True,
    )  # fmt: skip
