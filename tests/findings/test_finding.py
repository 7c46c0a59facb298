"""What holds of all findings, whatever they say."""

import importlib
import pkgutil

import pytest

from harness import findings
from harness.findings import QUESTIONS, Answer, Question, Statement, find
from harness.findings.finding import names_of
from harness.report import gather

from .answers import check

OF_NO_RECORDS = {"what-is-reported"}
"""Of what was claimed elsewhere."""


def test_questions_have_keys_to_type_and_commands_to_run():
    assert len(QUESTIONS) > 10
    for key, question in QUESTIONS.items():
        assert question.key == key
        assert key == key.lower().replace(" ", "-")
        assert question.text.endswith("?")
        assert question.commands
        assert all(command.split()[0] in {"harness", "pytest"} for command in question.commands)


@pytest.fixture
def commands_of(store):
    """A function from the names of records to the commands of a finding that they are behind."""

    def ask(names):
        question = Question(
            key="so",
            text="So?",
            commands=["harness reproduce smoke", "harness verify RUN", "harness verdicts"],
            answer=lambda _: Answer(summary=Statement("So.", tuple(names))),
        )
        return find(question, gather(store)).commands

    return ask


def test_commands_are_those_of_the_runs_behind_the_summary(record, make_seeds, commands_of):
    quick = {"experiment": "quick", "iterations": 782, "precision": "bf16", "cpu_cores": 1}
    behind = record(make_seeds(0.8, 0.81, **quick))
    behind += record(make_seeds(0.8, 0.81, **quick, cpu_name="Other CPU"))
    record(make_seeds(0.7, experiment="compare", recipe="short-own-init"))
    assert commands_of(names_of("runs", behind)) == [
        "harness reproduce quick --models resnet20 --precision bf16",
        "harness verify RUN",
        "harness verdicts",
    ]


def test_commands_are_those_of_the_verifications_behind_the_summary(store, fill, commands_of):
    turned = {"knob": "threads", "knob_then": "1", "knob_now": "2"}
    for name, knob in (("v1", {}), ("v2", turned)):
        row = fill("verifications", verification_id=name, run_id="r", num_epochs=1, complete=False)
        store.write("verifications", row | knob)
    assert commands_of(["verifications/v2"]) == [
        "harness verify r --turn threads=2",
        "harness reproduce smoke",
        "harness verdicts",
    ]


def test_commands_of_what_does_not_tell_are_those_of_the_question(commands_of):
    told = ["harness reproduce smoke", "harness verify RUN", "harness verdicts"]
    assert commands_of(["benchmarks/b"]) == told


def test_what_is_not_recorded_is_not_found(store):
    assert find(QUESTIONS["same-network"], gather(store)) is None


def test_questions_of_every_module_are_asked_and_once():
    modules = [
        importlib.import_module(f"harness.findings.{its.name}")
        for its in pkgutil.iter_modules(findings.__path__)
    ]
    asked = [question for module in modules for question in getattr(module, "QUESTIONS", ())]
    assert sorted(question.key for question in asked) == sorted(QUESTIONS)
    assert len({question.text for question in QUESTIONS.values()}) == len(QUESTIONS)


@pytest.mark.parametrize("key", sorted(set(QUESTIONS) - OF_NO_RECORDS))
def test_an_empty_store_answers_nothing(answer, key):
    assert answer(key) is None


@pytest.mark.parametrize("key", sorted(OF_NO_RECORDS))
def test_what_takes_no_records_is_answered_from_an_empty_store(answer, key):
    found = answer(key)
    check(found)
    assert all(statement.records == () for statement in found.statements)


@pytest.mark.parametrize("key", sorted(set(QUESTIONS) - OF_NO_RECORDS))
def test_published_statements_name_records_once_and_only_what_there_is(published, names_of_published, key):
    found = QUESTIONS[key].answer(published)
    for statement in () if found is None else found.statements:
        assert statement.records
        assert len(set(statement.records)) == len(statement.records)
        assert {name for name in statement.records if name not in names_of_published} == set()


def test_nearly_all_is_answered_by_what_is_published(published):
    answered = [key for key, question in QUESTIONS.items() if question.answer(published) is not None]
    assert len(answered) > len(QUESTIONS) / 2


def test_statements_are_the_summary_and_the_details():
    first, *others = its = [Statement(text, ()) for text in "abc"]
    assert Answer(summary=first, details=others).statements == its


def test_records_are_named_once_and_in_order():
    rows = [{"run_id": name} for name in "bab"]
    assert names_of("runs", rows) == ("runs/a", "runs/b")
    assert names_of("identities", [{"identity_id": "a", "model": "b"}]) == ("identities/a",)
    assert names_of("runs", []) == ()
