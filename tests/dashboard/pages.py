"""The pages, rows of every kind of record that they read, and all that a page says."""

import itertools
import json
from datetime import UTC, datetime

import pyarrow as pa

from harness.records import KINDS

TITLES = {
    "verdicts": "Did it reproduce?",
    "accuracy": "Accuracy",
    "cost": "Cost",
    "mistakes": "Mistakes",
    "networks": "Same network?",
    "bits": "Same bits?",
    "runs": "Runs",
    "live": "Live",
}
PAGES = list(TITLES)
READ = (
    *("runs", "epochs", "predictions", "identities"),
    *("audits", "profiles", "operators", "verifications"),
)
"""Kinds of record that some page reads."""
NOW = datetime(2026, 1, 1, tzinfo=UTC)

_FIRST = (
    (pa.types.is_string, "x"),
    (pa.types.is_boolean, True),
    (pa.types.is_integer, 1),
    (pa.types.is_floating, 0.5),
    (pa.types.is_timestamp, NOW),
    (pa.types.is_list, []),
)


def assert_sound(app, page):
    assert [error.message for error in app.exception] == []
    assert [title.value for title in app.title] == [TITLES[page]]


def filled(kind, **columns):
    """A row of a kind; what is not given, or is None, is null where that may be."""
    given = {name: value for name, value in columns.items() if value is not None}
    return {
        field.name: None if field.nullable else next(first for fits, first in _FIRST if fits(field.type))
        for field in KINDS[kind]
    } | given


def texts(kind):
    """Columns of a kind that are texts."""
    return [field.name for field in KINDS[kind] if pa.types.is_string(field.type)]


def course(run_id, num_epochs=3, **columns):
    """Rows of the records of kind ``epochs``."""
    return [
        filled("epochs", run_id=run_id, epoch=epoch, iteration=10 * (epoch + 1), seconds=epoch + 1.0)
        | {"test_error": 0.5 - epoch / 10}
        | columns
        for epoch in range(num_epochs)
    ]


def answers(run_id, num_wrong=2, num_images=20):
    """Predictions: the labels are 0 to 9 in turn, and the first images are taken for the next class."""
    labels = [image % 10 for image in range(num_images)]
    classes = [(label + (image < num_wrong)) % 10 for image, label in enumerate(labels)]
    logits = [[float(label == answer) for label in range(10)] for answer in classes]
    columns = [[run_id] * num_images, list(range(num_images)), labels, logits]
    return pa.table(dict(zip(KINDS["predictions"].names, columns, strict=True)), schema=KINDS["predictions"])


def profiled(model, batch_size, mode="train", **columns):
    """A cell in which each image takes a millisecond."""
    seconds = [[batch_size / 1000 * (1 + number / 100)] for number in range(5)]
    counted = {"parameters": 270_000, "parameters_total": 270_000, "macs": 40_000_000}
    fields = counted | {
        "session_id": "session",
        "model": model,
        "mode": mode,
        "batch_size": batch_size,
        "precision": "fp32",
        "status": "measured",
        "activation_bytes_per_image": 10**6,
        "round_seconds": seconds,
        "joules_per_image": 0.01,
        "ceiling_flops": 1e12,
        "ceiling_copy_bytes": 1e10,
        "device_name": "Some CPU",
    }
    return filled("profiles", **fields | columns)


def operator(model, name, share, batch_size=128, **columns):
    fields = {"session_id": "session", "model": model, "mode": "train", "batch_size": batch_size}
    return filled(
        "operators",
        **fields | {"precision": "fp32", "operator": name, "share": share, "self_seconds": share} | columns,
    )


def card(model, **columns):
    fields = {"identity_id": f"{model}-card", "model": model, "equivalence": "reference"}
    return filled("identities", **fields | columns)


def furnish(store, make_run, change=lambda kind, row: row):
    """Write some of every kind: two networks with two seeds in two recipes, precisions and places, and all there is of them.

    ``change`` is a function from a kind and a row of it to what is written instead.
    """
    models = ("resnet20", "plain20")
    responses = [{"layer": f"conv{layer}", "std": 0.5} for layer in range(19)]
    settings = [("paper", "fp32", "Some CPU"), ("paper", "bf16", "Some CPU"), ("short", "fp32", "A GPU")]
    for recipe, precision, device in settings:
        for model, seed in itertools.product(models, (0, 1)):
            asked = make_run(
                model, recipe, precision=precision, seed=seed, experiment=recipe, device_name=device
            )
            columns = {"layer_responses": responses, "test_accuracy": 0.9 - seed / 100}
            run_id = asked["run_id"]
            store.write_run(
                change("runs", filled("runs", **asked | columns)),
                [change("epochs", row) for row in course(run_id)],
                answers(run_id, 2 + seed),
            )
    failed = filled("runs", **make_run(seed=2, status="failed", reason="no memory", test_accuracy=None))
    store.write_run(change("runs", failed))
    others = {"counterpart": "resnet20", "equivalence": "equal", "first_deviation": "stem"}
    cells = itertools.product(models, (1, 32, 128), ("train", "infer"))
    rows = {
        "identities": [*map(card, models), card("timm-resnet20", **others)],
        "audits": [filled("audits", audit_id="audit", model="chenyaofo-resnet20")],
        "profiles": [profiled(model, size, mode) for model, size, mode in cells],
        "operators": [operator(model, f"aten::{name}", 0.5) for model in models for name in ("mm", "add")],
        "verifications": [
            filled("verifications", verification_id=name, run_id="run-1", knob=knob)
            for name, knob in (("repeated", None), ("turned", "threads"))
        ],
    }
    for kind, its in rows.items():
        changed = [change(kind, row) for row in its]
        if kind in {"profiles", "operators"}:
            store.write(kind, *changed)
        else:
            for row in changed:
                store.write(kind, row)


def said(app):
    """What a page shows: ``(type of element, path of the field, text)`` for every text in every element and block."""
    for node in _nodes(app._tree):
        yield from ((node.type, path, text) for path, text in _strings(node.proto))


def flags(app):
    """Every field of every element that has ``html`` in its name: ``(type of element, value)``."""
    return [
        (node.type, getattr(node.proto, field.name))
        for node in _nodes(app._tree)
        for field in node.proto.DESCRIPTOR.fields
        if "html" in field.name
    ]


def figures(app):
    """What is given to plotly."""
    return [json.loads(chart.proto.spec) for chart in app.get("plotly_chart")]


def words_of(content):
    """Every text in what JSON holds, keys aside."""
    if isinstance(content, str):
        yield content
    elif isinstance(content, dict | list):
        for part in content.values() if isinstance(content, dict) else content:
            yield from words_of(part)


def _nodes(node):
    if getattr(node, "proto", None) is not None:
        yield node
    for child in getattr(node, "children", {}).values():
        yield from _nodes(child)


def _strings(message, path=""):
    for field, value in message.ListFields():
        for one in value if field.is_repeated else [value]:
            if field.type == field.TYPE_STRING:
                yield f"{path}{field.name}", one
            elif field.type == field.TYPE_MESSAGE and field.message_type.GetOptions().map_entry:
                yield from ((f"{path}{field.name}", str(each)) for each in value.items())
            elif field.type == field.TYPE_MESSAGE:
                yield from _strings(one, f"{path}{field.name}.")
