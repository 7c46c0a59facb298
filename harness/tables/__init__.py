"""Tables of what was recorded and what follows from it, for people."""

from harness.tables.profiles import print_changes, print_comparisons, print_operators, print_profiles
from harness.tables.records import (
    print_audits,
    print_benchmarks,
    print_identities,
    print_inventory,
    print_runs,
    print_verifications,
)
from harness.tables.verdicts import print_model_comparisons, print_verdicts

__all__ = [
    "print_audits",
    "print_benchmarks",
    "print_changes",
    "print_comparisons",
    "print_identities",
    "print_inventory",
    "print_model_comparisons",
    "print_operators",
    "print_profiles",
    "print_runs",
    "print_verdicts",
    "print_verifications",
]
