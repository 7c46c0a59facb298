"""What the package promises to whoever imports it."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import harness.data

MODULES = sorted(Path(harness.data.__file__).parent.glob("*.py"))


def test_every_exported_name_exists_and_the_list_is_sorted():
    assert all(hasattr(harness.data, name) for name in harness.data.__all__)
    assert len(set(harness.data.__all__)) == len(harness.data.__all__)


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.stem)
def test_no_module_imports_torch_and_each_names_its_exports(module):
    tree = ast.parse(module.read_text("utf-8"))
    imported = {
        name.partition(".")[0]
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert not imported & {"torch", "torchvision"}
    assert "__all__" in {
        ast.unparse(target) for node in tree.body if isinstance(node, ast.Assign) for target in node.targets
    }


def test_importing_the_package_loads_nothing_heavy():
    heavy = ["torch", "requests", "urllib3", "PIL", "pyarrow", "rich", "filelock"]
    code = f"import sys, harness.data; print([name for name in {heavy} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
