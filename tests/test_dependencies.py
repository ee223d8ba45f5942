"""What pyproject.toml names can be imported, is locked, and is bounded for a reason."""

import importlib
import re
import tomllib
import warnings

import pytest

from tasks.io.home import PROJECT

PYPROJECT = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
MODULES = {
    "scikit-learn": "sklearn",
    "imbalanced-learn": "imblearn",
    "pyyaml": "yaml",
    "great-expectations": "great_expectations",
    "open-data-contract-standard": "open_data_contract_standard",
}


def name_of(requirement):
    """The package's name in a requirement."""
    return re.match(r"[A-Za-z0-9-]+", requirement)[0]


@pytest.mark.parametrize("package", [name_of(requirement) for requirement in PYPROJECT["dependencies"]])
def test_direct_dependency_can_be_imported(package):
    """`pip check` passes on sets that break at import, so each is imported."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations inside the libraries are not what is asked here
        importlib.import_module(MODULES.get(package, package))


def test_lock_names_versions_with_hashes_and_no_address():
    """Each entry of the lock is name==version with SHA-256 hashes; nothing in it says where to download from."""
    text = (PROJECT / "requirements.lock").read_text(encoding="utf-8")
    assert "://" not in text
    assert "index" not in re.sub(r"^[a-z0-9-]+==", "", text, flags=re.MULTILINE)
    entries = re.split(r"\n(?=[a-zA-Z])", text.strip())
    assert all(re.match(r"[a-zA-Z0-9._-]+==[^\s;]+( ; [^\\]+)? \\\n(    --hash=sha256:[0-9a-f]{64}( \\\n)?)+$", entry) for entry in entries)


def test_every_direct_dependency_is_locked():
    """The lock is made from pyproject.toml."""
    locked = {name.lower() for name in re.findall(r"^([A-Za-z0-9._-]+)==", (PROJECT / "requirements.lock").read_text(encoding="utf-8"), re.MULTILINE)}
    named = {name_of(requirement).lower() for group in (PYPROJECT["dependencies"], PYPROJECT["optional-dependencies"]["dev"]) for requirement in group}
    assert named - {"equipoise"} <= locked
