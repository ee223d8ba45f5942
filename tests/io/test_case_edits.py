"""Candidates are written into a case file as text: what was there stays, and a file that would not load is not written."""

import re
import shutil

import pytest
import yaml

from tasks.core.building import build
from tasks.core.errors import CaseError, UnavailableError
from tasks.core.guide import proposals
from tasks.core.guide_data import load_guide
from tasks.io.case_edits import add_candidates, open_case
from tasks.io.documents import load_case, load_dataset
from tasks.io.home import PROJECT


@pytest.fixture
def copy(tmp_path):
    """A project of one's own with the shipped cases."""
    for folder in ("configs", "catalog"):
        shutil.copytree(PROJECT / folder, tmp_path / folder)
    return tmp_path


def rewrite(project, change, name="adult"):
    path = project / "configs" / f"{name}.yaml"
    path.write_bytes(change(path.read_bytes().decode("utf-8")).encode("utf-8"))
    return path


def add(project, metric="equal_opportunity", by=("sex",), name="adult", task="binary"):
    return add_candidates(name, project, proposals([metric], task), by, f"For {metric}.")


def test_adult_gets_its_candidates_and_keeps_its_text(copy):
    """Only lines are added, in the file's own style, at the end of the candidates; the estimator is the first candidate's."""
    path = copy / "configs/adult.yaml"
    before = path.read_text(encoding="utf-8")
    edited = add(copy)
    after = path.read_text(encoding="utf-8")
    place = after.index("  # For equal_opportunity.\n")
    new = after[place : after.index("\ncohorts:")]
    assert after.replace(new, "") == before
    assert new.splitlines()[:4] == [
        "  # For equal_opportunity.",
        "  - name: guided_exponentiated_gradient",
        "    estimator: {kind: logistic}",
        "    in: {method: exponentiated_gradient, by: [sex], constraint: true_positive_rate_parity}",
    ]
    case = load_case("adult", copy)
    assert [one.name for one in case.candidates][-len(edited.added) :] == list(edited.added)
    assert 2 <= len(edited.added) + len(edited.already) <= 4
    assert "reweighed" in edited.already  # adult has logistic with reweighing by sex under another name


def test_writing_twice_leaves_one_result(copy):
    """What is there already is told and not written again."""
    first = add(copy)
    text = (copy / "configs/adult.yaml").read_bytes()
    second = add(copy)
    assert second.added == ()
    assert set(second.already) == {*first.added, *first.already}
    assert (copy / "configs/adult.yaml").read_bytes() == text


def test_other_columns_make_other_candidates(copy):
    """The same method aimed at other columns is another candidate, with a free name."""
    first, second = add(copy, by=("sex",)), add(copy, by=("race", "sex"))
    assert first.added[0] == "guided_exponentiated_gradient"
    assert second.added[0] == "guided_exponentiated_gradient_2"
    aims = {one.name: one.by for one in load_case("adult", copy).candidates if one.mitigated}
    assert aims["guided_exponentiated_gradient_2"] == ("race", "sex")


@pytest.mark.parametrize(("name", "by"), [("adult", "sex"), ("boston", "LSTAT")])
def test_every_candidate_the_guide_proposes_can_be_built(copy, name, by):
    """Whatever is proposed for any metric of the task loads from the case and is taken by training: method, constraint and parameters fit."""
    case = load_case(name, copy)
    found = {(one.method.name, one.move.constraint): one for of in load_guide().metrics if case.task in of.tasks for one in proposals([of.name], case.task)}
    edited = add_candidates(name, copy, list(found.values()), [by], "All there are.")
    assert len(edited.added) + len(edited.already) == len(found) >= 3
    case = load_case(name, copy)
    kinds = {column.name: "numeric" if column.type in ("integer", "number") else "categorical" for column in load_dataset(case.dataset, copy).columns}
    for spec in case.candidates[-len(edited.added) :]:
        build(spec, case, kinds)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("\n", "\r\n"),
        lambda text: re.sub(r"(?m)^  (  (?:estimator|pre|in|post):|- name)", r"\1", text),
        lambda text: text.replace("  - name: logistic\n", "  -\n    name: logistic\n"),
        lambda text: text.replace("\ncohorts:", "    # an afterthought on thresholds\n\n# ---- who ----\ncohorts:"),
        lambda text: text.replace("params: {objective: accuracy}}]", "params: {objective: accuracy}}]  # why accuracy"),
        lambda text: text.replace(
            ", constraint: equalized_odds, params: {objective: accuracy}}", ", constraint: equalized_odds,\n      params: {objective: accuracy}}"
        ),
        lambda text: "%YAML 1.1\n---\n" + text,
        lambda text: text.replace("Decide whom", "Décide – 日本 –  whom"),
        lambda text: (
            text[: text.index("\ncandidates:")] + text[text.index("\ncohorts:") :] + text[text.index("\ncandidates:") : text.index("\ncohorts:")].rstrip("\n")
        ),
    ],
    ids=["CRLF", "dashes at the margin", "dash alone", "comments", "comment on the line", "over two lines", "directive", "Unicode", "last, no newline"],
)
def test_the_files_own_form_is_kept(copy, change):
    """Line ends, indents, comments and an end without a newline stay; the new lines are all that is new."""
    path = rewrite(copy, change)
    before, case = path.read_bytes().decode("utf-8"), load_case("adult", copy)
    edited = add(copy)
    after = path.read_bytes().decode("utf-8")
    old, new = before.splitlines(keepends=True), after.splitlines(keepends=True)
    added = [line for line in new if "guided_" in line or "# For" in line]
    assert len(added) == len(edited.added) + 1
    place = next(number for number, line in enumerate(new) if "# For equal" in line)
    count = 1 + 3 * len(edited.added)
    assert [line.rstrip("\r\n") for line in new[:place] + new[place + count :]] == [line.rstrip("\r\n") for line in old]
    assert ("\r\n" in before) == ("\r\n" in after)
    assert "\n" not in after.replace("\r\n", "") or "\r\n" not in before
    assert load_case("adult", copy).candidates[: len(case.candidates)] == case.candidates


def test_a_case_that_refers_to_a_shared_file_is_read_with_it(copy):
    """Cohorts kept in a file of their own stay there, and the case still loads as it did."""
    (copy / "configs/cohorts/people.yaml").write_text("by: [[sex], [race]]\nmin_support: 30\n", encoding="utf-8")
    path = rewrite(copy, lambda text: text[: text.index("\ncohorts:")] + "\ncohorts: people\n" + text[text.index("\nmetrics:") :])
    assert add(copy).added
    assert "\ncohorts: people\n" in path.read_text(encoding="utf-8")


def test_a_comment_inside_the_last_candidate_stays_with_it(copy):
    """A comment indented below the last candidate is still below it afterwards, and one at the margin still above what it heads."""
    path = rewrite(copy, lambda text: text.replace("\ncohorts:", "    # an afterthought on thresholds\n\n# ---- who ----\ncohorts:"))
    add(copy)
    text = path.read_text(encoding="utf-8")
    assert text.index("objective: accuracy") < text.index("# an afterthought") < text.index("# For equal_opportunity") < text.index("# ---- who ----")


def test_a_multi_line_value_at_the_end_is_kept_whole(copy):
    """A last candidate that ends in a block of text gets the new ones after the block."""

    def change(text):
        document = yaml.safe_load(text)
        document["candidates"][-1]["estimator"]["params"] = {"max_iter": 120}
        start, end = text.index("  - name: thresholds"), text.index("\ncohorts:")
        block = "  - estimator: {kind: logistic}\n    name: |-\n      thresholds\n"
        return text[:start] + block + text[end:]

    rewrite(copy, change)
    edited = add(copy)
    assert [one.name for one in load_case("adult", copy).candidates][-len(edited.added) - 1] == "thresholds"


@pytest.mark.parametrize(
    ("name", "by", "message"),
    [
        ("adult", (), r"candidates need cohort columns to aim at.* Add for example --by sex"),
        ("adult", ("sexx",), r"`sexx` is not a column of adult\. Did you mean `sex`\?"),
        ("adult", ("sex", "income"), r"`income` is the target"),
        ("adult", ("sex", "sex"), r"sex, sex names a column twice"),
        ("adlt", ("sex",), r"Did you mean `adult`\?"),
    ],
)
def test_a_case_is_opened_only_for_columns_it_can_aim_at(name, by, message):
    """No columns, a column that is not there and the target are refused before anything is asked or written."""
    with pytest.raises(CaseError, match=message):
        open_case(name, PROJECT, by)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace("case: adult", "case: adults"), r"`case` is `adults`"),
        (
            lambda text: text[: text.index("candidates:")] + "candidates: [{name: one, estimator: {kind: logistic}}]\n" + text[text.index("\ncohorts:") :],
            r"written in brackets",
        ),
    ],
)
def test_a_file_that_cannot_be_added_to_stays_as_it_is(copy, change, message):
    """A case that does not load or has another form: an error that names the file, the same bytes as before, and no other file."""
    path = rewrite(copy, change)
    before = path.read_bytes()
    with pytest.raises(CaseError, match=message) as caught:
        add(copy)
    assert "configs/adult.yaml" in str(caught.value)
    assert path.read_bytes() == before
    assert sorted(found.name for found in path.parent.glob("*.*")) == ["adult.yaml", "boston.yaml", "flights.yaml"]


def test_a_remedy_for_another_task_is_refused(copy):
    """What moves recall does not go into a regression case."""
    with pytest.raises(CaseError, match=r"configs/boston.yaml: exponentiated_gradient is not for regression tasks"):
        add(copy, by=("LSTAT",), name="boston")


def test_text_that_would_not_load_is_not_written(copy, monkeypatch):
    """Whatever goes wrong with the text, it is read back as a case before it takes the file's place."""
    from tasks.io import case_edits

    before = (copy / "configs/adult.yaml").read_bytes()
    for wrong in (["  - name: [", ""], ["  - name: other", "    estimator: {kind: logistic}"]):
        monkeypatch.setattr(case_edits, "_lines", lambda *_, wrong=wrong: wrong)
        with pytest.raises(CaseError, match="nothing is changed"):
            add(copy)
        assert (copy / "configs/adult.yaml").read_bytes() == before


def test_a_folder_that_cannot_be_written_is_said(copy, monkeypatch):
    """A full or read-only disk leaves the old file."""
    from tasks.io import case_edits

    before = (copy / "configs/adult.yaml").read_bytes()
    original = case_edits.write_text

    def refuse(path, text):
        if path.is_relative_to(copy):
            raise UnavailableError("cannot be written: No space left on device.", where=str(path))
        original(path, text)

    monkeypatch.setattr(case_edits, "write_text", refuse)
    with pytest.raises(UnavailableError, match="No space left"):
        add(copy)
    assert (copy / "configs/adult.yaml").read_bytes() == before


@pytest.mark.parametrize("column", ["no: 1, [x]", "no", "12:30", "#1", "Größe", "null", "1e3"])
def test_column_names_that_yaml_would_read_otherwise_are_quoted(copy, column):
    """A cohort column with any name is written so that it is read back as itself."""
    assert add(copy, by=(column,)).added
    assert load_case("adult", copy).candidates[-1].by == (column,)
