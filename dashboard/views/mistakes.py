"""Mistakes: which classes are confused, which images one model has right and another wrong, and what another seed changes."""

from __future__ import annotations

import itertools
import statistics

import numpy as np
import streamlit as st
from parts.filters import choose_setting, chosen_groups, chosen_root, chosen_shelf
from parts.images import images_here
from parts.show import show_chart, show_table
from parts.stores import predictions_of
from parts.tables import per_cent

from harness.analysis.by_class import class_accuracies, confusion_matrix
from harness.analysis.by_image import churn
from harness.charts import class_figure, confusion_figure
from harness.data import CLASSES

_SHOWN = 24

st.title("Mistakes")
shelf = chosen_shelf()
groups = chosen_groups(shelf)
alike = choose_setting(groups)
found = predictions_of(chosen_root(), [run["run_id"] for group in alike for run in group.runs])
if not found:
    st.info("No predictions of these runs are recorded.")
    st.stop()
by_model = {
    group.model: [found[run["run_id"]] for run in group.runs if run["run_id"] in found] for group in alike
}
by_model = {model: runs for model, runs in by_model.items() if runs}

st.header("Error by class")
show_chart(
    class_figure({model: class_accuracies(runs) for model, runs in by_model.items()}, CLASSES), "classes"
)
st.caption(
    "Means over seeds; intervals say how far the error would move with other images of the class (Wilson)."
)

st.header("What is taken for what")
model = st.selectbox("Model", list(by_model), key="confused", bind="query-params")
show_chart(confusion_figure(confusion_matrix(by_model[model]), CLASSES), "confusion")
st.caption("Images of the test set, mean over seeds; right answers are left out.")

st.header("What another seed changes")
show_table(
    [
        {
            "model": name,
            "seeds": len(runs),
            "answered differently, %": per_cent(
                statistics.fmean(
                    churn(one.classes, other.classes) for one, other in itertools.combinations(runs, 2)
                )
            )
            if len(runs) > 1
            else None,
            "right by every seed, %": per_cent(float(np.all([run.correct for run in runs], axis=0).mean())),
            "wrong by every seed, %": per_cent(
                float((~np.any([run.correct for run in runs], axis=0)).mean())
            ),
        }
        for name, runs in by_model.items()
    ],
    "churn",
    {
        "answered differently, %": "Share of images that two seeds answer differently (churn), mean over pairs of seeds",
        "right by every seed, %": "Share of images",
        "wrong by every seed, %": "Share of images",
    },
)

st.header("Right by one, wrong by another")
if len(by_model) < 2:
    st.text("There are not two models in this setting.")
    st.stop()
left, right = st.columns(2)
names = list(by_model)
one = left.selectbox("Right by", names, index=0, key="right", bind="query-params")
other = right.selectbox("Wrong by", names, index=1, key="wrong", bind="query-params")
surplus = np.mean([run.correct for run in by_model[one]], axis=0) - np.mean(
    [run.correct for run in by_model[other]], axis=0
)
order = np.argsort(-surplus, kind="stable")
differing = [int(image) for image in order if surplus[image] > 0]
st.text(
    f"{len(differing):,} test images are right by more seeds of {one} than of {other}; those with the largest difference come first."
)
images = images_here()
labels = by_model[one][0].labels
if images is None or not np.array_equal(labels, images.test_labels[: len(labels)]):
    st.info("The images are not on this machine. This fetches them:")
    st.code("harness data fetch", language=None)
else:
    with st.container(horizontal=True):
        for image in differing[:_SHOWN]:
            pixels = np.kron(images.test_images[image].transpose(1, 2, 0), np.ones((3, 3, 1), np.uint8))
            answers = [run.classes[image] for run in by_model[other] if run.classes[image] != labels[image]]
            told = f"{CLASSES[labels[image]]}, not {CLASSES[answers[0]]}"
            st.image(pixels, caption=told, alt=f"Test image {image}: {told}", width=96)
show_table(
    [
        {
            "image": image,
            "class": CLASSES[labels[image]],
            f"right by {one}": f"{sum(bool(run.correct[image]) for run in by_model[one])} of {len(by_model[one])}",
            f"right by {other}": f"{sum(bool(run.correct[image]) for run in by_model[other])} of {len(by_model[other])}",
        }
        for image in differing[:500]
    ],
    "images",
)
