"""Accuracy: curves over the paper's own, plain beside residual, the spread over seeds, and what the best epoch adds."""

from __future__ import annotations

import streamlit as st
from parts.filters import choose_setting, chosen_groups, chosen_root, chosen_shelf
from parts.show import show_chart, show_table
from parts.stores import epochs_of, predictions_of, summaries_of
from parts.tables import group_row, per_cent

from harness.analysis.depth import depth_gaps, depth_points, layer_profiles
from harness.analysis.groups import follows_paper
from harness.analysis.noise import detectable_difference, noise_split
from harness.charts import curves_figure, depth_figure, optimism_figure, responses_figure, seeds_figure

_NETWORKS = [("plain", 20), ("resnet", 20), ("plain", 56), ("resnet", 56)]

st.title("Accuracy")
shelf = chosen_shelf()
groups = chosen_groups(shelf)
alike = choose_setting(groups)

st.header("Over training")
with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
    over = st.segmented_control(
        "Over",
        ["iteration", "epoch", "seconds"],
        default="iteration",
        required=True,
        key="over",
        bind="query-params",
    )
    band = st.segmented_control(
        "Band",
        ["range", "interval", "sd"],
        default="range",
        required=True,
        key="band",
        bind="query-params",
        help="From the least seed to the greatest; the 95 % interval of the mean; or a standard deviation on either side.",
    )
    smoothing = st.slider(
        "Smoothing, epochs",
        1,
        20,
        key="smoothing",
        bind="query-params",
        help="Each point is the mean with those before it; the raw curve stays behind, thin.",
        width=200,
    )
    with_training = st.toggle("Training error", value=False, key="training", bind="query-params")
    with_paper = st.toggle(
        "The paper's curves",
        value=follows_paper(alike[0]),
        disabled=over != "iteration",
        help="Figure 6 of He et al. (2015), read back from its vector graphics: 64,000 iterations, the axis ends at 20 %.",
        key="paper",
        bind="query-params",
    )
models = {group.model for group in alike}
drawn = [its for its in _NETWORKS if "{}{}".format(*its) in models] or _NETWORKS[:2]
run_ids = [run["run_id"] for group in alike for run in group.runs]
show_chart(
    curves_figure(
        alike,
        epochs_of(chosen_root(), run_ids),
        figure_6=drawn if with_paper and over == "iteration" else (),
        with_training=with_training,
        over=over,
        band=band,
        smoothing=smoothing,
    ),
    "curves",
)
st.caption(
    "Lines are means over seeds; training error (dotted) is of augmented images while the weights change."
)

st.header("Over seeds")
show_chart(seeds_figure(alike), "seeds")
predictions = predictions_of(chosen_root(), run_ids)
rows = []
for summary in summaries_of(shelf, alike):
    group = summary.group
    correct = [predictions[run["run_id"]].correct for run in group.runs if run["run_id"] in predictions]
    split = noise_split(correct)
    if summary.test_accuracy is None:
        continue
    sd = summary.test_accuracy.sd
    least = sd if sd is None or split is None else max(sd, split.sampling_sd)
    rows.append(
        {
            "model": group.model,
            "seeds": len(group.runs),
            "test error, %": per_cent(1 - summary.test_accuracy.mean),
            "sd": per_cent(sd),
            "sd of sampling": None if split is None else per_cent(split.sampling_sd),
            "sd of networks": per_cent(split.between_sd or None) if split is not None else None,
            "detectable": None if least is None else per_cent(detectable_difference(least, len(group.runs))),
        }
    )
show_table(
    rows,
    "noise",
    {
        "sd": "Standard deviation over seeds, in percentage points",
        "sd of sampling": "What the standard deviation would be if seeds differed in nothing but which images they happen to get right",
        "sd of networks": "What is left of it: on an endless test set",
        "detectable": "Smallest difference of two models that so many seeds of each would show with 80 % power, unpaired; seeds that "
        "happen to differ less than the sampling lets them are taken to differ by that",
    },
)

points = depth_points(groups, shelf.networks)
of_setting = [point for point in points if point.group.setting == alike[0].setting]
gaps = depth_gaps(points)
profiles = layer_profiles(alike)
if gaps or profiles:
    st.header("What are shortcuts worth?")
if len({point.depth for point in of_setting}) > 1:
    show_chart(depth_figure(of_setting), "depth")
if gaps:
    show_table(
        [
            group_row(
                gap.difference.first,
                {
                    "depth": gap.depth,
                    "residual minus plain, points": per_cent(gap.difference.difference.mean),
                    "from": per_cent(gap.difference.difference.low),
                    "to": per_cent(gap.difference.difference.high),
                    "paper": per_cent(gap.paper_difference),
                },
            )
            for gap in gaps
        ],
        "shortcuts",
        {
            "residual minus plain, points": "Difference of accuracies of the same seeds, mean",
            "from": "95 % interval of the mean difference, paired by seed",
            "to": "95 % interval of the mean difference, paired by seed",
            "paper": "The same difference as the paper states it",
        },
    )
if profiles:
    show_chart(responses_figure(profiles), "responses")
    st.caption(
        "Standard deviation of each 3x3 layer's output after batch normalisation; dashed: Figure 7 of the paper."
    )

st.header("What quoting the best epoch is worth")
known = [
    summary
    for summary in summaries_of(shelf, groups)
    if summary.optimism is not None and summary.optimism.maximum > 0
]
if known:
    in_setting = [summary for summary in known if summary.group.setting == alike[0].setting]
    if in_setting:
        show_chart(optimism_figure(in_setting), "optimism")
    show_table(
        [
            group_row(
                summary.group,
                {
                    "best minus last, points": per_cent(summary.optimism.mean),
                    "from": per_cent(summary.optimism.low),
                    "to": per_cent(summary.optimism.high),
                },
            )
            for summary in known
            if summary.optimism is not None
        ],
        "best-epoch",
        {
            "best minus last, points": "Accuracy of the best test epoch minus that of the last, mean over seeds",
            "from": "95 % interval of the mean over seeds",
            "to": "95 % interval of the mean over seeds",
        },
    )
else:
    st.text(
        "In every group the last epoch was the best, or as good: quoting the best would have added nothing."
    )
