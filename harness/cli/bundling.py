"""The commands that take the harness to a machine without network: bundle, unbundle."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from harness.cli.options import names
from harness.errors import BundleError, StorageError, UsageError, printable

__all__ = ["bundle", "unbundle"]


def bundle(
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", help="Folder of the bundle; an earlier bundle there is replaced.", metavar="DIR"
        ),
    ],
    *,
    python: Annotated[str, typer.Option(help="Version of Python on the other machine.")] = "3.12",
    platform: Annotated[str, typer.Option(help="linux-x86_64 or linux-aarch64.")] = "linux-x86_64",
    part_size: Annotated[str, typer.Option(help="What the files of a part may have together.")] = "52MiB",
    data: Annotated[
        Literal["cifar10"], typer.Option(help="Data set to take along, fetched if need be.")
    ] = "cifar10",
    no_data: Annotated[bool, typer.Option("--no-data", help="Take no data set along.")] = False,
    models: Annotated[
        str | None, typer.Option(help="Take along the code of other repositories that these models need.")
    ] = None,
    extra: Annotated[
        list[str] | None,
        typer.Option(help="Of the project, e.g. references; may be repeated.", metavar="NAME"),
    ] = None,
    with_torch: Annotated[
        bool,
        typer.Option("--with-torch/--without-torch", help="Without it, the other machine must have torch."),
    ] = True,
) -> None:
    """Pack the harness, its wheels at locked versions and CIFAR-10 for a machine without network, in parts."""
    from harness.bundling.bundle import Content, make_bundle, parse_size, upstream_contents
    from harness.bundling.wheels import Target
    from harness.console import load_cifar10, say, stdout
    from harness.data import Cache, cache_folder
    from harness.plain_table import new_table

    part_size_bytes, target = parse_size(part_size), Target(python=python, platform=platform)
    others = upstream_contents(names(models or ""))
    if not no_data:
        load_cifar10("auto")  # verified, and fetched if need be
        files = sorted(Cache(cache_folder()).folder.glob("*.npy"))
        others += [Content(path=f"{data}/{file.name}", what="data", source=file) for file in files]
    manifest = make_bundle(
        output,
        target,
        part_size_bytes=part_size_bytes,
        with_torch=with_torch,
        extras=extra or [],
        others=others,
        say=say,
    )
    table = new_table("what", "files", "MiB")
    for what in dict.fromkeys(file.what for file in manifest.files):
        sizes = [file.size_bytes for file in manifest.files if file.what == what]
        table.add_row(what, str(len(sizes)), f"{sum(sizes) / 2**20:.1f}")
    stdout.print(table)
    if manifest.left_out:
        stdout.print(f"Left to the other machine: {', '.join(manifest.left_out)}")
    stdout.print(f"Bundle: {output}/, {len(manifest.parts)} parts of at most {part_size}")
    stdout.print(f"There: python{python} {output.name}/part-001/unbundle.py --into harness-env")


def unbundle(
    folder: Annotated[Path, typer.Argument(help="Folder that holds part-001, part-002, ...", metavar="DIR")],
    *,
    into: Annotated[
        Path, typer.Option(help="Folder of a new virtual environment, for the Python that runs this.")
    ] = Path("harness-env"),
) -> None:
    """Install a bundle into a new virtual environment; where there is no harness, part-001/unbundle.py does it."""
    from harness.bundling.unbundle import UnbundleError
    from harness.bundling.unbundle import unbundle as install
    from harness.console import say, stdout

    if not folder.is_dir():
        raise UsageError(f"{printable(folder)}: no such folder; name the one that holds part-001")
    try:
        harness = install(folder, into, say)
    except UnbundleError as error:
        raise BundleError(str(error)) from error
    except OSError as error:
        raise StorageError(
            f"{printable(error.filename)}: {error.strerror}; mend that, and start again"
        ) from error
    stdout.print(f"Installed. Next: {harness} reproduce smoke")
