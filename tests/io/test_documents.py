"""Cases are read strictly: what is wrong is named with its file, key and value, and the nearest right key."""

import copy

import pytest
import yaml

from tasks.core.errors import CaseError
from tasks.io.documents import case_digest, case_names, load_case, load_dataset
from tasks.io.home import PROJECT

CASES = ("adult", "boston", "flights")


def write_case(root, change=None, name="boston", text=None):
    """A project with one case: boston's own, with `change` made to it, or any text."""
    document = yaml.safe_load((PROJECT / "configs/boston.yaml").read_text())
    if change:
        change(document)
    (root / "configs").mkdir(exist_ok=True)
    (root / "configs" / f"{name}.yaml").write_text(text if text is not None else yaml.safe_dump(document), encoding="utf-8")
    return root


@pytest.mark.parametrize("name", CASES)
def test_embedded_cases_and_their_catalogue_entries_load(name):
    """The shipped cases are valid, and each feature is a column of its dataset."""
    case = load_case(name, PROJECT)
    dataset = load_dataset(case.dataset, PROJECT)
    assert set(case.features) <= set(dataset.names)
    assert name in case_names(PROJECT)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.update(canddidates=[]), r"`canddidates` is not a key\. Did you mean `candidates`\?"),
        (lambda d: d["drift"].update(limmit=1), r"`drift\.limmit` is not a key\. Did you mean `limit`\?"),
        (lambda d: d["limits"][0].update(at_mots=1), r"`limits\.0\.at_mots` is not a key\. Did you mean `at_most`\?"),
        (lambda d: d["periods"]["simulate"]["drifts"][0].update(sizes=1), r"sizes` is not a key\. Did you mean `size`\?"),
        (lambda d: d.pop("carbon"), r"`carbon` is missing"),
        (lambda d: d.update(task="ranking"), r"`task`: .*'ranking'"),
        (lambda d: d.update(features=["MEDV"]), r"the target `MEDV` cannot be a feature"),
        (lambda d: d["periods"].update(column="when"), r"exactly one of `column` and `simulate`"),
        (lambda d: d["target"].update(above=20), r"`positive` and `above` are for binary cases"),
        (lambda d: d["limits"][0].update(at_least=1), r"exactly one of `at_most` and `at_least`"),
        (lambda d: d["limits"].clear(), r"`limits`"),
        (lambda d: d["split"].update(test=0.8), r"leave no rows to train on"),
        (lambda d: d["drift"].update(limit=float("inf")), r"`drift\.limit`"),
        (lambda d: d["drift"].update(limits={"PTRATIOS": 1}), r"drift\.limits: `PTRATIOS` is neither a feature nor `prediction` \(did you mean `PTRATIO`\?\)"),
        (lambda d: d["drift"].update(limits={"MEDV": 0.1}), r"`MEDV` is neither a feature nor `prediction` \(there are: .*prediction\)"),
        (lambda d: d["drift"].update(limits={"TAX": 0}), r"`drift\.limits\.TAX`: Input should be greater than 0 \(given: 0\)"),
        (lambda d: d["drift"].update(limits={"prediction": float("nan")}), r"`drift\.limits\.prediction`"),
        (lambda d: d.update(case="bostom"), r"`case` is `bostom`, but the file is called boston\.yaml"),
        (lambda d: d["candidates"].append(copy.deepcopy(d["candidates"][0])), r"a name is used twice"),
    ],
)
def test_wrong_case_names_file_key_and_way_out(tmp_path, change, message):
    """Each mistake is refused at load, naming configs/boston.yaml and the key."""
    with pytest.raises(CaseError, match=message) as caught:
        load_case("boston", write_case(tmp_path, change))
    assert str(caught.value).startswith("configs/boston.yaml: ")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("- a\n- b\n", "holds no mapping"),
        ("case: boston\ncase: adult\n", "the key `case` is given twice at line 2"),
        ("case: boston\ntarget: {column: A, column: B}\n", "the key `column` is given twice at line 2"),
        ("case: [boston\n", "at line 2"),
        ("case: !!python/object/apply:os.system ['true']\n", "could not determine a constructor"),
        ("a: &a [1]\nb: *a\n", "aliases"),
        ("a: " + "[" * 3000, "nested too deeply|at line"),
    ],
)
def test_malformed_yaml_is_refused_with_its_place(tmp_path, text, message):
    """YAML that is broken, duplicated, aliased or not plain is refused with its line."""
    with pytest.raises(CaseError, match=message):
        load_case("boston", write_case(tmp_path, text=text))


def test_not_text_is_refused(tmp_path):
    """A file that is no UTF-8 is named as such."""
    write_case(tmp_path)
    (tmp_path / "configs/boston.yaml").write_bytes(b"case: \xff\xfe")
    with pytest.raises(CaseError, match="is not UTF-8"):
        load_case("boston", tmp_path)


@pytest.mark.parametrize("name", ["../boston", "a/b", "..", "", "Boston", "boston.yaml", "b\x00", "/etc/passwd", "-rf", "x" * 64])
def test_name_that_is_no_name_never_becomes_a_path(name):
    """A name with a path in it, or anything but lower-case letters, digits, dashes and underscores, is refused."""
    with pytest.raises(CaseError, match="is not the name of a case"):
        load_case(name, PROJECT)
    with pytest.raises(CaseError, match="is not the name of a dataset"):
        load_dataset(name, PROJECT)


def test_missing_case_points_to_the_nearest(tmp_path):
    """A mistyped case is answered with the one that was meant."""
    with pytest.raises(CaseError, match="Did you mean `boston`"):
        load_case("bostom", write_case(tmp_path))


def test_unknown_dataset_points_to_the_nearest():
    """A case that names a dataset without an entry is answered with the entry that was meant."""
    with pytest.raises(CaseError, match=r"no file catalog/bostom\.yaml\. Did you mean `boston`"):
        load_dataset("bostom", PROJECT)


def test_norway_stays_a_string(tmp_path):
    """`NO`, `on` and `12:30` are the strings they look like, not booleans or base-60 numbers."""
    path = write_case(tmp_path, text=(PROJECT / "configs/boston.yaml").read_text().replace("purpose: Estimate", "purpose: 12:30\n#"))
    assert load_case("boston", path).purpose == "12:30"
    assert (
        load_case("boston", write_case(tmp_path, text=(PROJECT / "configs/boston.yaml").read_text().replace("timezone: UTC", "timezone: NO"))).schedule.timezone
        == "NO"
    )


def test_digest_is_of_the_meaning(tmp_path):
    """Comments and order do not change a case's digest; a value does."""
    digest = case_digest(load_case("boston", PROJECT))
    assert case_digest(load_case("boston", write_case(tmp_path))) == digest
    assert case_digest(load_case("boston", write_case(tmp_path, lambda d: d.update(seed=8)))) != digest


def test_a_case_may_name_a_shared_file_of_cohorts(tmp_path):
    """`cohorts: people` reads configs/cohorts/people.yaml, and counts as if it were written in the case: the digest is the same."""
    inline = load_case("boston", write_case(tmp_path))
    cohorts = yaml.safe_load((PROJECT / "configs/boston.yaml").read_text())["cohorts"]
    (tmp_path / "configs/cohorts").mkdir()
    (tmp_path / "configs/cohorts/people.yaml").write_text(yaml.safe_dump(cohorts), encoding="utf-8")
    shared = load_case("boston", write_case(tmp_path, lambda document: document.update(cohorts="people")))
    assert shared.cohorts == inline.cohorts
    assert case_digest(shared) == case_digest(inline)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("peple", "by: [[B]]", r"no cohort file `peple`.*Did you mean `people`"),
        ("../secret", "by: [[B]]", "is not the name of a cohort file"),
        ("people", "byy: [[B]]", r"people\.yaml: `byy` is not a key\. Did you mean `by`"),
        ("people", "min_support: 0", r"`min_support`.*given: 0"),
    ],
)
def test_a_wrong_file_of_cohorts_is_said_by_name(tmp_path, name, text, message):
    """A name that is no file, a name that is a path, a key or a value that cannot be: one message with the way out."""
    (tmp_path / "configs/cohorts").mkdir(parents=True)
    (tmp_path / "configs/cohorts/people.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(CaseError, match=message):
        load_case("boston", write_case(tmp_path, lambda document: document.update(cohorts=name)))
