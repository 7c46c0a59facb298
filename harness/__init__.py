"""A reproducibility benchmark harness for the CIFAR-10 networks of He et al. (2015)."""

from importlib.metadata import PackageNotFoundError, version

__all__ = ["__version__"]

try:
    __version__ = version("resnet-repro-harness")
except PackageNotFoundError:  # run from a source tree that was never installed
    __version__ = "0+unknown"
