"""The layers of the harness, and what must not be imported where."""

import ast
import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import harness

ROOT = Path(harness.__file__).parent

LAYERS = (
    "errors",
    "storage",
    "atomic",
    "paper",
    "config",
    "claims",
    "environment",
    "records",
    "analysis",
    "formats",
    "charts",
    "report",
    "findings",
    "data",
    "models",
    "training",
    "identity",
    "audit",
    "profiling",
    "execution",
    "bundling",
    "plain_table",
    "console",
    "tables",
    "progress",
    "cli",
    "__main__",
)
"""Imports point only up this list; packages that are still to come have their place in it."""

FREE = {"allocator", "seal", "__init__"}
"""These know nothing of the harness, and anybody may import them."""

WITHOUT_TORCH = (
    "errors",
    "storage",
    "atomic",
    "paper",
    "config",
    "environment",
    "records",
    "analysis",
    "charts",
    "report",
    "findings",
    "data",
    "bundling",
)

MODULES = {
    ".".join(("harness", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__"): path
    for path in sorted(ROOT.rglob("*.py"))
}


def layer_of(module):
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def imports(node):
    """Absolute names of everything that is imported below a node of a syntax tree."""
    for inner in ast.walk(node):
        if isinstance(inner, ast.Import):
            yield from (alias.name for alias in inner.names)
        elif isinstance(inner, ast.ImportFrom):
            assert inner.level == 0, "write imports absolutely"
            yield inner.module
            yield from (f"{inner.module}.{alias.name}" for alias in inner.names)


def imports_at_start(node):
    """The same, but only what runs when the module is imported: no function bodies, nothing for types alone."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        yield from (
            imports(child) if isinstance(child, ast.Import | ast.ImportFrom) else imports_at_start(child)
        )


def tree_of(module):
    return ast.parse(MODULES[module].read_bytes())


def test_modules_are_found():
    assert {"harness", "harness.cli", "harness.training.loop", "harness.records"} <= set(MODULES)


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_upwards_only(module):
    imported = {layer_of(name) for name in imports(tree_of(module)) if name.startswith("harness.")}
    imported -= {"__version__", *FREE}
    layer = layer_of(module)
    if layer in FREE:
        assert imported == set()
    else:
        assert imported <= set(LAYERS[: LAYERS.index(layer) + 1])


@pytest.mark.parametrize("module", [name for name in MODULES if layer_of(name) in WITHOUT_TORCH])
def test_module_does_not_need_torch(module):
    assert not {name.split(".")[0] for name in imports_at_start(tree_of(module))} & {"torch", "torchvision"}


def test_scan_of_imports_sees_what_runs_and_only_that():
    tree = ast.parse(
        "import a\n"
        "if TYPE_CHECKING:\n    import b\n"
        "def f():\n    import c\n"
        "try:\n    from d import e\nexcept ImportError:\n    pass\n"
        "class G:\n    import h\n"
    )
    assert set(imports_at_start(tree)) == {"a", "d", "d.e", "h"}
    assert set(imports(tree)) == {"a", "b", "c", "d", "d.e", "h"}


def test_no_module_is_a_drawer_for_odds_and_ends():
    names = {path.stem for path in MODULES.values()} | {path.parent.name for path in MODULES.values()}
    assert not names & {"utils", "util", "helpers", "common", "misc"}


STARTS_FAST = (
    "harness.config",
    "harness.records",
    "harness.data",
    "harness.models",
    "harness.analysis.summary",
    "harness.analysis.verdicts",
    "harness.report",
    "harness.environment",
    "harness.execution.job",
    "harness.execution.recording",
    "harness.execution.worker",
    "harness.console",
    "harness.cli",
)


def test_planning_showing_and_the_command_line_start_without_torch():
    code = f"import sys, {', '.join(STARTS_FAST)}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("module", [name for name in MODULES if name != "harness.__main__"])
def test_module_says_what_it_is_and_what_is_public(module):
    loaded = importlib.import_module(module)
    assert loaded.__doc__
    exported = getattr(loaded, "__all__", None)
    if exported is None:
        # a package without names of its own
        assert inspect.getsource(loaded).strip().endswith('"""')
        return
    assert len(set(exported)) == len(exported)
    undocumented = []
    for name in exported:
        member = getattr(loaded, name)
        documented = member.__doc__ or ""
        if (inspect.isclass(member) or inspect.isroutine(member)) and (
            not documented or documented.startswith(f"{name}(")  # as dataclass writes it by itself
        ):
            undocumented.append(name)
    assert undocumented == []
