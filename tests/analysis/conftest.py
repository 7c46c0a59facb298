"""Measured cells."""

from datetime import UTC, datetime, timedelta

import pytest

ROUNDS = [[0.10, 0.11], [0.09, 0.08], [0.12, 0.10], [0.10, 0.09], [0.11, 0.13]]
"""Seconds of each call; their median is 0.1."""


@pytest.fixture
def make_profile():
    """A function from changed columns to a measured cell of training; each is later than those before."""
    made = 0

    def make(model="resnet20", *, seconds=None, **columns):
        nonlocal made
        made += 1
        return {
            "session_id": f"s{made}",
            "model": model,
            "mode": "train",
            "batch_size": 128,
            "precision": "fp32",
            "device_name": "Some CPU",
            "status": "measured",
            "parameters": 270_000,
            "parameters_total": 280_000,
            "macs": 41_000_000,
            "activation_bytes_per_image": 1_500_000,
            "ceiling_flops": 1e12,
            "ceiling_copy_bytes": 1e11,
            "joules_per_image": None,
            "busy": False,
            "round_seconds": ROUNDS if seconds is None else [[seconds]] * 5,
            "measured_at": datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=made),
            **columns,
        }

    return make
