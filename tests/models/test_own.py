"""Networks of one's own: found without running anything, built when asked for, held to the contract."""

import hashlib

import pytest
import torch
from torch import nn

from harness.errors import ModelError, UnknownNameError, UsageError
from harness.models import find, models, own

CANARY = """\
from pathlib import Path
from torch import nn

Path("canary").touch()

def net():
    return nn.Sequential(nn.Flatten(), nn.Linear(3072, 10))
"""


def test_naming_a_factory_runs_nothing_and_building_does(write_module):
    file = write_module(CANARY)
    entry = find("mynet:net")
    assert (entry.key, entry.source, entry.origin[:9]) == ("mynet:net", "own", "own code ")
    assert not file.with_name("canary").exists()
    assert isinstance(entry.build(), nn.Sequential)
    assert file.with_name("canary").exists()


def test_of_a_network_of_one_s_own_nothing_but_its_code_is_known(write_module):
    file = write_module()
    entry = find("mynet:net")
    digest = hashlib.sha256(b"mynet.py" + hashlib.sha256(file.read_bytes()).digest()).hexdigest()
    assert (entry.code_sha256, entry.origin) == (digest, f"own code {digest[:10]}")
    for unknown in ("distribution", "version", "upstream", "licence", "family", "depth", "shortcut"):
        assert getattr(entry, unknown) is None, unknown
    assert "mynet:net" not in models()


def test_each_build_of_one_s_own_is_a_new_network_with_weights_of_its_own(write_module):
    write_module()
    first, second = (find("mynet:net").build() for _ in range(2))
    assert not torch.equal(first[0].weight, second[0].weight)


def test_the_origin_changes_with_the_code_of_the_module(write_module):
    write_module()
    before = find("mynet:net").origin
    write_module("# nothing\n")
    assert find("mynet:net").origin != before
    write_module()
    assert find("mynet:net").origin == before


@pytest.mark.parametrize("changed", ["nets/__init__.py", "nets/small.py", "nets/deeper/blocks.py"])
def test_the_origin_changes_with_any_file_of_the_package(write_module, changed):
    for path in ("nets/__init__.py", "nets/small.py", "nets/deeper/blocks.py"):
        write_module("", path)
    before = find("nets.small:net").origin
    write_module("# changed\n", changed)
    assert find("nets.small:net").origin != before


@pytest.mark.parametrize("factory", ["nets.small:Nets.make", "nets.small:Nets.Inner.make", "nets.small:net"])
def test_a_factory_may_be_anything_that_can_be_called_in_a_module_of_a_package(write_module, factory):
    write_module("", "nets/__init__.py")
    write_module(
        "from torch import nn\n"
        "class Nets:\n"
        "    @staticmethod\n"
        "    def make(): return nn.Sequential(nn.Flatten(), nn.Linear(3072, 10))\n"
        "    class Inner:\n"
        "        make = classmethod(lambda cls: Nets.make())\n"
        "net = Nets.make\n",
        "nets/small.py",
    )
    assert len(find(factory).build()) == 2


@pytest.mark.parametrize(
    "spelling",
    ["mynet:", ":net", "mynet:net()", "my-net:net", "mynet.:net", "nets/small.py:net", "a:b:c", "1:2"],
)
def test_a_factory_that_is_spelled_otherwise_is_refused(write_module, spelling):
    write_module()
    with pytest.raises(UsageError, match=r"write package.module:factory, e.g. mynet:resnet20") as caught:
        find(spelling)
    assert str(caught.value).startswith(f"model {spelling!r}: ")
    assert "\n" not in str(caught.value)


def test_a_module_that_is_nowhere_is_refused_with_where_it_was_looked_for(write_module):
    folder = write_module().parent
    with pytest.raises(UsageError, match="there is no module 'absent_nets'") as caught:
        find("absent_nets.small:net")
    assert str(caught.value).startswith("model 'absent_nets.small:net': ")
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("spelling", "complaint"),
    [
        ("mynet.py:net", "mynet is a module and no package; write mynet:factory"),
        ("sys:net", "there is no module 'sys'"),
    ],
)
def test_what_is_no_module_of_a_network_is_refused(write_module, spelling, complaint):
    write_module()
    with pytest.raises(UsageError, match=complaint):
        find(spelling)


def test_the_origin_changes_with_a_module_beside_it(write_module):
    write_module()
    before = find("mynet:net").origin
    write_module("# blocks", "blocks.py")
    assert find("mynet:net").origin != before


def test_lazy_layers_learn_their_shapes_before_anything_is_counted(write_module):
    write_module("from torch import nn\ndef net(): return nn.Sequential(nn.Flatten(), nn.LazyLinear(10))\n")
    network = find("mynet:net").build()
    assert network[1].weight.shape == (10, 3072)
    assert network.training


HEAD = "import torch\nfrom torch import nn\n"


def network_returning(expression):
    """Code of a network with one layer, whose forward pass returns an expression in its logits."""
    return (
        f"{HEAD}class net(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.fc = nn.Linear(3072, 10)\n"
        "    def forward(self, x):\n"
        "        logits = self.fc(x.flatten(1))\n"
        f"        return {expression}\n"
    )


@pytest.mark.parametrize(
    ("code", "complaint"),
    [
        (f"{HEAD}1 / 0", "ZeroDivisionError in FILE, line 3: division by zero"),
        (f"{HEAD}def net(:", r"SyntaxError: invalid syntax \(mynet.py, line 3\)"),
        ("import sys\nsys.exit('trains when imported')", "SystemExit in FILE, line 2: trains when imported"),
        ("def __getattr__(name): raise KeyError(name)", "KeyError in FILE, line 1: 'net'"),
        ("import no_such_package", "ModuleNotFoundError in FILE, line 1: No module named 'no_such_package'"),
        ("def other(): pass", "AttributeError: module 'mynet' has no attribute 'net'"),
        ("def net():\n    return 1 / 0", "ZeroDivisionError in FILE, line 2: division by zero"),
        ("def net():\n    raise OSError('one\\ntwo')", "OSError in FILE, line 2: one two"),
        ("def net(depth): pass", r"TypeError: net\(\) missing 1 required positional argument: 'depth'"),
        ("net = 7", "TypeError: 'int' object is not callable"),
        ("def net(): return 7", "the factory returned int, not a torch.nn.Module"),
        (f"{HEAD}net = nn.Flatten", "no parameter requires a gradient, so there is nothing to train"),
        (
            f"{HEAD}def net(): return nn.Linear(3072, 10).requires_grad_(False)",
            "no parameter requires a gradient, so there is nothing to train",
        ),
        (
            network_returning("self.undefined(logits)"),
            r"given images \(2, 3, 32, 32\) in training: AttributeError in .*'net' object has no attribute",
        ),
        (
            network_returning("logits if self.training else 1 / 0"),
            r"given images \(2, 3, 32, 32\) in evaluation: ZeroDivisionError in FILE, line 9: division",
        ),
        (network_returning("logits[:, :9]"), r"in training it returns torch.float32 of shape \(2, 9\)"),
        (network_returning("logits.mean(0)"), r"in training it returns torch.float32 of shape \(10,\)"),
        (network_returning("logits.long()"), r"in training it returns torch.int64 of shape \(2, 10\)"),
        (
            network_returning("(logits, logits) if self.training else logits"),
            r"in training it returns tuple; return a tensor of logits \(N, 10\)",
        ),
        (
            network_returning("logits if self.training else logits.argmax(1)"),
            r"in evaluation it returns torch.int64 of shape \(2,\); return logits \(N, 10\)",
        ),
    ],
)
def test_what_breaks_the_contract_is_one_line_that_names_the_model(write_module, code, complaint):
    file = write_module(code)
    entry = find("mynet:net")
    with pytest.raises(ModelError, match=complaint.replace("FILE", str(file))) as caught:
        entry.build()
    assert str(caught.value).startswith("model 'mynet:net'")
    assert "\n" not in str(caught.value)


def test_the_check_leaves_the_network_as_the_factory_made_it(write_module):
    write_module()
    network = find("mynet:net").build()
    assert all(module.training for module in network.modules())
    assert (network[1].running_mean == 0).all()
    assert (network[1].running_var == 1).all()
    assert network[1].num_batches_tracked == 0
    assert all(parameter.grad is None for parameter in network.parameters())


@pytest.fixture
def install(write_module, monkeypatch):
    """A function from lines of entry points to the module of a package extra-nets 1.2 that has them."""
    own._entry_points.cache_clear()

    def make(*lines):
        file = write_module(CANARY, "extra_nets.py")
        about = file.with_name("extra_nets-1.2.dist-info")
        about.mkdir()
        (about / "METADATA").write_text("Metadata-Version: 2.1\nName: extra-nets\nVersion: 1.2\n")
        (about / "entry_points.txt").write_text("\n".join(["[harness.models]", *lines, ""]))
        monkeypatch.syspath_prepend(file.parent)
        return file

    yield make
    own._entry_points.cache_clear()


def test_a_package_adds_a_model_by_an_entry_point(install):
    file = install("extra20 = extra_nets:net")
    entry = find("extra20")
    assert models()["extra20"].origin == entry.origin
    assert (entry.source, entry.distribution, entry.version) == ("own", "extra-nets", "1.2")
    digest = hashlib.sha256(b"extra_nets.py" + hashlib.sha256(file.read_bytes()).digest()).hexdigest()
    assert entry.origin == f"extra-nets code {digest[:10]}"
    assert not file.with_name("canary").exists()
    assert isinstance(entry.build(), nn.Sequential)
    assert file.with_name("canary").exists()


def test_a_mistyped_name_is_told_the_nearest_of_a_package_too(install):
    install("extra20 = extra_nets:net")
    with pytest.raises(UnknownNameError, match="did you mean extra20"):
        find("exrta20")


def test_a_package_cannot_take_a_name_of_the_harness(install):
    install("resnet20 = extra_nets:net", "extra20 = extra_nets:net")
    with pytest.raises(UsageError, match=r"'resnet20': extra-nets adds a model of the same name") as caught:
        find("resnet20")
    assert "\n" not in str(caught.value)
    assert models()["resnet20"].source == "ours"
    assert (find("extra20").source, find("plain20").source) == ("own", "ours")


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        ("extra_nets", "write package.module:factory, e.g. mynet:resnet20, not 'extra_nets'"),
        ("extra_nets:net [gpu]", "write package.module:factory"),
        ("absent_nets:net", "there is no module 'absent_nets'"),
    ],
)
def test_an_entry_point_of_no_factory_is_refused_with_its_package(install, value, complaint):
    install(f"extra20 = {value}")
    with pytest.raises(UsageError, match=r"^model 'extra20', an entry point of extra-nets: ") as caught:
        find("extra20")
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "extra20" not in models()
    assert find("resnet20").source == "ours"


def test_two_packages_with_a_model_of_the_same_name_are_named(install):
    file = install("extra20 = extra_nets:net")
    about = file.with_name("other_nets-3.dist-info")
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: other-nets\nVersion: 3\n")
    (about / "entry_points.txt").write_text("[harness.models]\nextra20 = extra_nets:net\n")
    with pytest.raises(
        UsageError, match=r"'extra20': .*(extra|other)-nets and (extra|other)-nets add a model"
    ):
        find("extra20")
    assert "extra20" not in models()


def test_a_model_of_a_package_that_breaks_the_contract_is_named_with_its_package(install):
    install("extra20 = extra_nets:absent")
    with pytest.raises(
        ModelError,
        match=r"^model 'extra20', an entry point of extra-nets: AttributeError: module 'extra_nets' has no",
    ):
        find("extra20").build()
