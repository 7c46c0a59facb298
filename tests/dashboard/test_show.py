import pandas as pd
import pytest


@pytest.fixture
def without_formulas(monkeypatch):
    from pathlib import Path

    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "dashboard")
    from parts.show import without_formulas

    return without_formulas


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
def test_what_a_spreadsheet_would_execute_is_text(without_formulas, text):
    frame = pd.DataFrame({"model": [text, "resnet20"], "n": [-1, 2]})
    safe = without_formulas(frame)
    assert safe["model"].tolist() == [f"'{text}", "resnet20"]
    assert safe["n"].tolist() == [-1, 2]
    assert frame["model"].tolist() == [text, "resnet20"]


def test_what_is_missing_stays_missing(without_formulas):
    assert without_formulas(pd.DataFrame({"why": [None, "x"]}))["why"].isna().tolist() == [True, False]
