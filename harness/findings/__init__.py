"""Findings: what the records of a store say, in sentences whose every number follows from them. No torch."""

from collections.abc import Mapping
from typing import Final

from harness.findings import (
    bits,
    depth,
    implementations,
    initial_weights,
    networks,
    overhead,
    profiles,
    published,
    reproduction,
    speed,
    spread,
)
from harness.findings.finding import Answer, Finding, Question, Statement, find
from harness.findings.markdown import in_brief, in_full
from harness.findings.pictures import draw

__all__ = ["QUESTIONS", "Answer", "Finding", "Question", "Statement", "draw", "find", "in_brief", "in_full"]

QUESTIONS: Final[Mapping[str, Question]] = {
    question.key: question
    for module in (
        *(reproduction, networks, initial_weights, published, implementations, depth, spread),
        *(speed, profiles, overhead, bits),
    )
    for question in module.QUESTIONS
}
"""By key, in the order in which they are answered."""
