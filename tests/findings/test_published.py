"""Findings on what was published: of small stores by hand, of the published one by pandas."""

import tomllib
from pathlib import Path

import pandas as pd
import pytest

import harness

from .answers import check, only, texts


@pytest.fixture
def add_audit(store, fill):
    """A function that records the audit of a checkpoint that does what was claimed, unless told."""

    def add(name, **columns):
        given = {
            "audit_id": name,
            "model": name,
            "model_source": "owner/name@0123456789",
            "claim": "akamaster-resnet20",
            "claimed_accuracy": 0.9173,
            "accuracy": 0.9173,
            "counterpart_accuracy": 0.9173,
            "num_images": 10_000,
            "num_predictions_differing": 0,
            "difference_of_logits": 2e-7,
        }
        store.write("audits", fill("audits", given | columns))

    return add


def test_checkpoints_that_keep_their_claim_are_counted(answer, add_audit):
    add_audit("good")
    add_audit("almost", accuracy=0.91729, counterpart_accuracy=0.91729)  # 91.73, to two decimals
    add_audit("bad", accuracy=0.9, counterpart_accuracy=0.8, num_predictions_differing=5, num_images=500)
    found = answer("published-weights")
    check(found)
    assert found.summary.text.startswith("2 of 3 published checkpoints (owner/name) have")
    assert "2 of 3 have the same accuracy as through" in found.summary.text
    assert "5 of 20,500 predictions differ" in found.summary.text
    bad = only(found, "through its own class")
    assert "90.00 % of 500 images" in bad.text
    assert "-1.73 percentage points from the claim; 80.00 % through ours" in bad.text
    assert bad.records == ("audits/bad",)
    assert "3 are of the last iteration" in only(found, "claims on these weights").text


def test_a_claim_that_is_not_known_is_left_out(answer, add_audit):
    add_audit("<b>|", audit_id="odd", claim="no such claim")
    found = answer("published-weights")
    check(found)
    assert found.summary.text.startswith("1 of 1 published checkpoint (owner/name) has")
    assert not [text for text in texts(found) if "claims.toml" in text]


def test_published_audits_are_those_of_the_records(published_answer, frame_of):
    audits = frame_of("audits")
    kept = (audits.accuracy.round(4) == audits.claimed_accuracy.round(4)).sum()
    carried = (audits.accuracy == audits.counterpart_accuracy).sum()
    text = published_answer("published-weights").summary.text
    assert text.startswith(f"{kept} of {len(audits)} published checkpoints")
    assert f"{carried} of {len(audits)} have the same" in text
    assert f"{audits.num_predictions_differing.sum():,} of {audits.num_images.sum():,} predictions" in text
    rows = {row[0]: row for row in published_answer("published-weights").tables[0].rows}
    assert all(rows[audit.model][3] == f"{100 * audit.accuracy:.2f}" for audit in audits.itertuples())


def test_claims_are_those_of_the_file(published_answer):
    listed = tomllib.loads(Path(harness.__file__).with_name("claims.toml").read_text())["claims"]
    frame = pd.DataFrame(listed)
    counts = frame.selection.value_counts()
    found = published_answer("what-is-reported")
    text = found.summary.text
    assert f"Of the {len(frame)} claims" in text
    of_paper = (frame.key.str.startswith("he2015") & (frame.selection == "last")).sum()
    assert f"{of_paper} are taken to be of the last iteration (He et al.)" in text
    assert f"{counts['last'] - of_paper} are of the last iteration" in text
    assert f"{counts['best-on-test']} are of the best epoch" in text
    best = frame[frame.selection == "best-on-test"].claimant.str.split("/").str[0].value_counts()
    assert all(f"{name} {number}" in text for name, number in best.items())
    documented = only(found, "documented recipe")
    assert documented.text.startswith(f"{frame.recipes.notna().sum()} of the {len(frame)} ")
    assert all(key in documented.text for key in frame[frame.recipes.isna()].key)
    figure = only(found, "read from a figure")
    assert figure.text.startswith(f"{frame.read_from_figure.count()} of the ")
    assert documented.records == figure.records == ()
