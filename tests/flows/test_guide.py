"""`equipoise guide` at the terminal: asking, reading answers, showing the mapping, and writing into a case."""

import json
import re
import shutil
import subprocess
import sys

import pytest
import yaml

from flows.guide import guide
from tasks.core.errors import CaseError
from tasks.io.documents import load_case
from tasks.io.home import PROJECT

ANSWERS = {
    "task": "binary",
    "who": "groups",
    "standard": "no",
    "labels": "trusted",
    "harm": "allocation",
    "resource": "not_rationed",
    "intervention": "assistive",
    "threshold": "fixed",
    "base_rates": "differ",
}


@pytest.fixture
def copy(tmp_path, monkeypatch):
    """A project of one's own with the shipped cases."""
    for folder in ("configs", "catalog"):
        shutil.copytree(PROJECT / folder, tmp_path / folder)
    monkeypatch.setenv("EQUIPOISE_PROJECT", str(tmp_path))
    return tmp_path


@pytest.fixture
def answered(tmp_path):
    """A file with answers that lead to equal opportunity, after a change."""

    def write(change=None, text=None):
        path = tmp_path / "answers.yaml"
        path.write_text(text if text is not None else yaml.safe_dump({**ANSWERS, **(change or {})}, sort_keys=False), encoding="utf-8")
        return path

    return write


@pytest.fixture
def typed(monkeypatch):
    """Replies typed at the terminal; an exception among them is raised."""

    def reply(*replies):
        left = iter(replies)

        def read(_prompt=""):
            answer = next(left, EOFError())
            if isinstance(answer, BaseException):
                raise answer
            return answer

        monkeypatch.setattr("builtins.input", read)

    return reply


def test_importing_the_guide_is_light():
    """`--help` stays instant: nothing heavy is imported before the guide runs, and nothing of the learning libraries when it does."""
    code = (
        "import sys, flows.guide; first = {'pandas', 'numpy', 'polars', 'prefect', 'mlflow', 'sklearn', 'pydantic', 'yaml'} & set(sys.modules)\n"
        "flows.guide.guide(metric='recall'); then = {'pandas', 'numpy', 'polars', 'prefect', 'mlflow', 'sklearn'} & set(sys.modules)\n"
        "print(sorted(first), sorted(then))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=PROJECT)
    assert result.stdout.splitlines()[-1] == "[] []", result.stderr


def test_answers_from_a_file_name_the_metric_and_its_limit(answered, capsys):
    """Not rationed and assistive: equal opportunity, which is the gap of recall, with the limit to paste, the reason, and what cannot be had beside it."""
    found = guide(answers=answered(), by=("sex",))
    out = capsys.readouterr().out
    assert [one["name"] for one in found["metrics"]] == ["equal_opportunity"]
    assert found["metrics"][0]["limits"] == [{"metric": "recall", "gap": ["sex"], "at_most": 0.1, "must_show": "no_worse"}]
    assert "- {metric: recall, gap: [sex], at_most: 0.1, must_show: no_worse}" in out
    assert "the resource is not rationed; so rates among those whose outcome is the same have to be equal" in out
    assert "Base rates differ, so: Precision" in out
    assert "Chouldechova" in out
    assert [line.split()[0] for line in out.strip().splitlines()[-3:]] == ["Made", "Look", "Next"]
    json.dumps(found, allow_nan=False)


def test_the_questions_lead_where_the_file_does(answered, typed, capsys):
    """Numbers and names are taken, anything else is asked again, and the answers shown at the end are a file that gives the same advice."""
    typed("1", "who?", "", "0", "3", " Groups ", "2", "trusted", "1", "2", "1", "1", "differ")
    asked = guide(by=("sex",))
    out = capsys.readouterr().out
    assert out.count("is not an answer: type 1 to 2, or individuals, groups.") == 4
    shown = out.split("Your answers, for --answers FILE:\n")[1].split("\n\n")[0]
    assert yaml.safe_load(shown) == ANSWERS
    assert guide(answers=answered(text=shown), by=("sex",)) == asked


def test_a_number_is_told_where_the_bound_is_the_users(typed, capsys):
    """A limit in the target's unit has no bound of ours, and one without columns says where they go."""
    typed("2", "2", "2", "1", "2", "3")
    found = guide()
    assert found["metrics"][0]["name"] == "error_parity"
    assert "{metric: mae, gap: [COLUMN], at_most: BOUND, must_show: no_worse}" in capsys.readouterr().out


def test_stopping_half_way_writes_nothing(copy, typed):
    """Ctrl-C at a question leaves the case as it was; what the case says already was not asked."""
    before = (copy / "configs/adult.yaml").read_bytes()
    typed("2", "no", KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        guide(write="adult", by=("sex",))
    assert (copy / "configs/adult.yaml").read_bytes() == before


def test_no_terminal_is_said(typed):
    """Questions that nobody answers end in an error that names --answers, not in a loop."""
    typed("binary")
    with pytest.raises(CaseError, match=r"`who` is not answered: there is nothing more to read\. Give --answers FILE"):
        guide()


def test_written_candidates_load_and_are_told(copy, answered, capsys):
    """--write adds the candidates for the advice to adult, which loads with them, and a second time adds none."""
    found = guide(answers=answered(), write="adult", by=("sex",))
    case = load_case("adult", copy)
    names = [one.name for one in case.candidates]
    assert found["added"]
    assert names[-len(found["added"]) :] == found["added"]
    assert 2 <= len(found["added"]) + len(found["already"]) <= 4
    assert all(one.by == ("sex",) and one.estimator == case.candidates[0].estimator for one in case.candidates if one.name in found["added"])
    assert "equipoise train adult" in capsys.readouterr().out
    assert guide(answers=answered(), write="adult", by=("sex",))["added"] == []
    assert load_case("adult", copy) == case


def test_a_metric_can_be_written_for_and_a_missing_grouping_is_told(copy, capsys):
    """--metric with --write adds what moves it; a grouping that the case does not evaluate is pointed out."""
    found = guide(metric="mean_error", write="boston", by=("LSTAT", "B"))
    assert found["name"] == "mean_error_parity"
    assert found["added"] == [one.name for one in load_case("boston", copy).candidates][-len(found["added"]) :]
    assert "`cohorts.by` of boston has no [LSTAT, B]" in capsys.readouterr().out


def test_the_mapping_is_shown_with_sources(capsys):
    """--metric tells for each method when it works, for which task and estimator, whether it is direct, and who says so."""
    found = guide(metric="true positive rate parity")
    out = capsys.readouterr().out
    assert found["name"] == "equal_opportunity"
    methods = {one["method"]: one for one in found["methods"]}
    assert methods["threshold_optimizer"]["when"] == "after fitting"
    assert methods["exponentiated_gradient"]["listed_by_equalityai"] is True
    assert methods["constrained_erm"]["in_equipoise"] is False
    assert methods["constrained_erm"]["instead"] == ["exponentiated_gradient", "grid_search"]
    for one in found["methods"]:
        assert re.search(rf"^{one['method']}: .*\({re.escape(one['sources'][0])}", out, re.MULTILINE)


def test_a_task_narrows_the_mapping(copy):
    """For a regression case, bounded group loss is the mean squared error, and only what serves a number is shown."""
    found = guide(metric="bounded_group_loss", write="boston", by=("LSTAT",))
    assert found["tasks"] == ["regression"]
    assert {"metric": "mse", "read": "cohort"} in found["measured"]
    assert all(one["tasks"] == ["regression"] for one in found["methods"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"metric": "recal"}, r"no fairness metric 'recal'\. Did you mean `recall`\?"),
        ({"metric": "recall", "answers": PROJECT / "no.yaml"}, r"Give one of the two"),
        ({"answers": PROJECT / "no.yaml"}, r"no\.yaml: cannot be read: No such file"),
        ({"metric": "recall", "write": "adlut", "by": ("sex",)}, r"There is no case `adlut`.*Did you mean `adult`\?"),
        ({"metric": "recall", "write": "adult"}, r"Add for example --by sex"),
        ({"metric": "recall", "write": "adult", "by": ("sx",)}, r"`sx` is not a column of adult\. Did you mean `sex`\?"),
        ({"metric": "recall", "write": "boston", "by": ("B",)}, r"`equal_opportunity` is for binary tasks, and the task of boston is regression"),
        ({"metric": "individual_fairness", "write": "boston", "by": ("B",)}, r"no method that moves fairness_through_awareness can be named"),
        ({"write": "../adult", "by": ("sex",)}, r"is not the name of a case"),
    ],
)
def test_a_wrong_call_says_the_way_out_before_anything_is_asked(copy, typed, arguments, message):
    """Mistakes in the call are found before the first question, and the cases stay as they are."""
    typed(AssertionError("a question was asked"))
    before = {path.name: path.read_bytes() for path in (copy / "configs").glob("*.yaml")}
    with pytest.raises(CaseError, match=message):
        guide(**arguments)
    assert {path.name: path.read_bytes() for path in (copy / "configs").glob("*.yaml")} == before


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"answers\.yaml: is empty"),
        ("- task\n- who\n", r"holds no mapping"),
        ("task: binary\ntask: regression\n", r"the key `task` is given twice"),
        ("task: &a binary\nwho: *a\n", r"aliases"),
        ("task: [binary", r"Mend the YAML"),
        ("task: !!python/object/apply:os.system [echo]\n", r"Mend the YAML"),
        ("taks: binary\n", r"'taks' is not a question of the guide\. Did you mean `task`\?"),
        ("task: binray\n", r"'binray' is not an answer to `task`\. Did you mean `binary`\?"),
        ("task: binary\n", r"`who` is not answered: .* Answer `individuals` or `groups`\."),
        ("task: binary\nwho: groups\nstandard: false\n", r"False is not an answer to `standard`.* Answer `yes` or `no`\."),
        ("task: binary\nwho: individuals\nsimilarity: no\nstandard: no\n", r"`standard` is answered, and these answers do not lead to it"),
        ("{}", r"`task` is not answered"),
        ("a: " + "[" * 1200, r"nested too deeply|Mend the YAML"),
        ("# " + "x" * 1_000_001, r"at most 1,000,000 are read"),
    ],
)
def test_a_hostile_answers_file_is_refused_by_name(answered, text, message):
    """Whatever is in the file, the error names it and says what to do; nothing is guessed."""
    path = answered(text=text)
    with pytest.raises(CaseError, match=message) as caught:
        guide(answers=path)
    assert str(path) in str(caught.value)


def test_answers_for_another_task_are_not_written(copy, answered):
    """Answers about a class do not mend a case about a number."""
    before = (copy / "configs/boston.yaml").read_bytes()
    with pytest.raises(CaseError, match=r"`task` is `binary`, and the task of boston is regression"):
        guide(answers=answered(), write="boston", by=("B",))
    assert (copy / "configs/boston.yaml").read_bytes() == before


def test_what_cannot_be_measured_is_said_and_not_written(copy, answered, capsys):
    """Without a similarity measure there is no metric, so there is nothing to write for."""
    answers = answered(text="task: binary\nwho: individuals\nsimilarity: no\n")
    assert guide(answers=answers)["metrics"] == []
    assert "cannot be measured until there is a measure of similarity" in capsys.readouterr().out
    before = (copy / "configs/adult.yaml").read_bytes()
    with pytest.raises(CaseError, match="no metric fits yet, so there is nothing to move; nothing is written"):
        guide(answers=answers, write="adult", by=("sex",))
    assert (copy / "configs/adult.yaml").read_bytes() == before


def test_names_are_text_and_not_markup(capsys):
    """A cohort column that looks like markup is shown as it is."""
    guide(metric="recall", by=("[red]sex[/]",))
    assert "gap: [[red]sex[/]]" in capsys.readouterr().out
