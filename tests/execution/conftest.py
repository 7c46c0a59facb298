"""Tests of a cluster are asked for."""


def pytest_collection_modifyitems(config, items):
    """Without --cluster nobody wants to read of a cluster that is not there."""
    if not config.getoption("--cluster"):
        unwanted = [item for item in items if item.get_closest_marker("cluster")]
        config.hook.pytest_deselected(items=unwanted)
        items[:] = [item for item in items if item not in unwanted]
