"""`equipoise evaluate` on predictions from anywhere."""

import json

import pandas as pd
import pytest

from tests.flows.test_cli import equipoise, in_process


def evaluate(*arguments):
    """Run the command in this process."""
    return in_process("evaluate", *map(str, arguments), environment={"COLUMNS": "200"})


@pytest.fixture
def predictions(tmp_path):
    """Sixty rows: 24 of 30 right in A, 27 of 30 in B, and four in a cohort too small to be told."""
    right = [True] * 24 + [False] * 6 + [True] * 27 + [False] * 3 + [True] * 4
    truth = [place % 2 for place in range(64)]
    frame = pd.DataFrame(
        {
            "y_true": truth,
            "y_pred": [value if ok else 1 - value for value, ok in zip(truth, right, strict=True)],
            "team": ["A"] * 30 + ["B"] * 30 + ["<C>"] * 4,
            "age": range(64),
        }
    )
    frame.to_csv(tmp_path / "predictions.csv", index=False)
    return tmp_path / "predictions.csv"


def test_json_holds_one_flat_list_of_rows(predictions, tmp_path):
    """Cohorts by group and by condition come as rows of one shape, with the figures worked by hand; the small cohort's are left out,
    and those of one other, so that nobody can subtract. In a process of its own, as a user would."""
    asked = ["--task", "binary", "--by", "team", "--where", "Young=age < 20", "--metric", "accuracy"]
    result = equipoise("evaluate", str(predictions), *asked, "--json", str(tmp_path / "report.json"))
    assert result.returncode == 0, result.stderr
    rows = {row["cohort"]: row for row in json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))["rows"]}
    assert set(next(iter(rows.values()))) == {"cohort", "kind", "metric", "value", "low", "high", "n", "support", "verdict"}
    assert (rows["team=B"]["value"], rows["team=B"]["n"], rows["team=B"]["kind"]) == (0.9, 30, "group")
    assert (rows["Young"]["value"], rows["Young"]["kind"]) == (1.0, "filter")
    assert rows["team=<C>"]["value"] is None
    assert rows["team=<C>"]["verdict"] == "insufficient"
    assert rows["team=A"]["value"] is None  # with it, the total less A and B would tell of the four
    assert [line.split()[0] for line in result.stdout.strip().splitlines()[-3:]] == ["Made", "Look", "Next"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--by", "tem"], "Did you mean `team`"),
        (["--where", "Young=aeg < 30"], "Did you mean `age`"),
        (["--where", "age"], "Write NAME=CONDITION"),
        (["--metric", "accuracyy"], "Did you mean `accuracy`"),
    ],
)
def test_mistake_is_answered_with_what_was_meant(predictions, tmp_path, arguments, message):
    """A wrong column, condition or metric exits 2, and nothing is written."""
    result = evaluate(predictions, "--task", "binary", *arguments, "--json", tmp_path / "report.json")
    assert result.returncode == 2
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "report.json").exists()


def test_missing_file_is_named(tmp_path):
    """A file that is not there is said by name."""
    result = evaluate(tmp_path / "none.parquet", "--task", "binary")
    assert result.returncode == 2
    assert "none.parquet" in result.stderr


def test_slices_find_the_cohort_nobody_named(tmp_path):
    """A planted slice with many errors comes first, confirmed, as a condition that can be pasted."""
    count = 6000
    frame = pd.DataFrame({"city": [f"c{place % 10}" for place in range(count)], "y_true": [place // 10 % 2 for place in range(count)]})
    wrong = (frame["city"] == "c3") & (frame.index // 100 % 2 == 0)
    frame["y_pred"] = frame["y_true"].where(~wrong, 1 - frame["y_true"])
    frame.to_parquet(tmp_path / "predictions.parquet")
    result = evaluate(tmp_path / "predictions.parquet", "--task", "binary", "--metric", "accuracy", "--slices", "--json", tmp_path / "report.json")
    assert result.returncode == 0, result.stderr
    first = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))["slices"][0]
    assert first["condition"] == "city = 'c3'"
    assert first["confirmed"] is True
    assert (first["n"], first["value"]) == (600, 0.5)


def test_page_is_written_and_says_what_may_be_chance(predictions, tmp_path):
    """`--html` writes one file with the figures; a gap of 24 in 30 against 27 in 30 is not called clear."""
    frame = pd.read_csv(predictions)
    frame[frame["team"] != "<C>"].to_csv(predictions, index=False)
    result = evaluate(predictions, "--task", "binary", "--by", "team", "--metric", "accuracy", "--html", tmp_path / "page.html")
    assert result.returncode == 0, result.stderr
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "team=A" in page
    assert "may be chance" in page
    assert "<td>clear</td>" not in page


def test_a_file_of_cohorts_names_groups_conditions_and_bins(predictions, tmp_path):
    """`--cohorts` takes what a case says under `cohorts`; what is asked besides is added, and a misspelt key is answered."""
    (tmp_path / "people.yaml").write_text("by: [[age]]\nwhere: {Young: age < 20}\nbins: {age: [31]}\nmin_support: 5\n", encoding="utf-8")
    asked = ["--task", "binary", "--metric", "accuracy", "--cohorts", tmp_path / "people.yaml", "--where", "Old=age >= 20"]
    result = evaluate(predictions, *asked, "--json", tmp_path / "report.json")
    assert result.returncode == 0, result.stderr
    rows = {row["cohort"]: row["n"] for row in json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))["rows"]}
    assert rows == {"overall": 64, "age=(-inf, 31]": 32, "age=(31, inf)": 32, "Young": 20, "Old": 44}
    (tmp_path / "people.yaml").write_text("whre: {Young: age < 20}\n", encoding="utf-8")
    wrong = evaluate(predictions, *asked)
    assert wrong.returncode == 2
    assert "Did you mean `where`?" in wrong.stderr


def test_a_baseline_is_compared_in_words_and_signs(predictions, tmp_path):
    """With `--baseline` the deltas come with arrows, words and the share of right answers that stay right."""
    frame = pd.read_csv(predictions)
    frame.assign(y_pred=1 - frame["y_true"]).to_csv(tmp_path / "worse.csv", index=False)
    result = evaluate(predictions, "--task", "binary", "--by", "team", "--metric", "accuracy", "--baseline", tmp_path / "worse.csv")
    assert result.returncode == 0, result.stderr
    assert "▲ better" in result.stdout
    assert "accuracy: this, compared with worse.csv" in result.stdout
    assert "(BEC)" in result.stdout


def test_looking_for_errors_draws_them_and_weighs_the_labels(tmp_path):
    """`--slices` puts the error tree, a heatmap of the first columns it splits and the balance of labels into the JSON, and draws them."""
    count = 6000
    frame = pd.DataFrame({"city": [f"c{place % 10}" for place in range(count)], "y_true": [place // 10 % 2 for place in range(count)]})
    wrong = (frame["city"] == "c3") & (frame.index // 100 % 2 == 0)
    frame["y_pred"] = frame["y_true"].where(~wrong, 1 - frame["y_true"])
    frame["sex"] = ["F" if place % 3 else "M" for place in range(count)]
    frame.to_parquet(tmp_path / "predictions.parquet")
    files = ["--json", tmp_path / "report.json", "--html", tmp_path / "page.html"]
    result = evaluate(tmp_path / "predictions.parquet", "--task", "binary", "--by", "sex", "--metric", "accuracy", "--slices", *files)
    assert result.returncode == 0, result.stderr
    report = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    errors = {node["condition"]: (node["n"], node["errors"]) for node in report["tree"]}
    assert errors["city = 'c3'"] == (600, 300)
    assert report["heatmap"]["columns"] == ["city"]
    cells = {cell["row"]: cell["value"] for cell in report["heatmap"]["cells"]}
    assert (cells["c3"], cells["c4"]) == (0.5, 0.0)
    shares = {row["cohort"]: row["value"] for row in report["balance"] if row["measure"] == "cohort_share"}
    assert shares["sex=M"] == pytest.approx(1 / 3)
    assert any(row["measure"] == "inconsistency_rate" for row in report["balance"])
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert 'id="tree"' in page
    assert 'id="heatmap"' in page
