import sys
from importlib import metadata

import pytest

from harness.errors import HarnessError, ModelError
from harness.models.distributions import import_distribution, installed_version


def test_version_of_what_is_installed_and_of_what_is_not():
    assert installed_version("torch") == metadata.version("torch")
    assert installed_version("no-such-distribution") is None


def test_missing_distribution_names_the_remedy():
    with pytest.raises(ModelError, match=r"nosuchthing is not installed; .*: pip install nosuchthing$"):
        import_distribution("nosuchthing")
    assert issubclass(ModelError, HarnessError)
    assert ModelError.exit_code == 1


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("raise RuntimeError('operator torchvision::nms\\ndoes not exist')", "nms does not exist; "),
        ("import no_such_module_either", "No module named 'no_such_module_either'; "),
        ("from os import no_such_name", "cannot import name 'no_such_name'"),
    ],
)
def test_distribution_that_does_not_fit_is_not_called_missing(tmp_path, monkeypatch, code, reason):
    (tmp_path / "brokenthing.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModelError, match=r"brokenthing .* cannot be imported") as caught:
        import_distribution("brokenthing")
    assert reason in str(caught.value)
    assert "pip install --upgrade torch brokenthing" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "brokenthing" not in sys.modules
