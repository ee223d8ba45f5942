"""Secrets in a catalogue entry: refused where they are written, and never repeated."""

import pytest

from tasks.core.catalogue import dataset_from_contract
from tasks.core.errors import CaseError
from tests.core.test_catalogue import contract, custom


def entry(url):
    return contract(server={"server": "a", "type": "custom", "customProperties": custom(url=url, table="loans")})


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg://me:hunter2@db/x",
        "postgresql+psycopg://me:hunter2${MORE}@db/x",
        "postgresql+psycopg://db/x?user=me&password=hunter2",
        "s3://bucket/x?access_key=hunter2",
        "https://store/x?sv=1&sig=hunter2",
    ],
)
def test_a_secret_in_a_location_is_refused_without_repeating_it(url):
    """The file and the way out are named; what was written is not shown again."""
    with pytest.raises(CaseError, match=r"^catalog/loans\.yaml: Server `a` has a secret written into its location\. Write \$\{NAME\}") as refused:
        dataset_from_contract(entry(url), "loans")
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg://me:${PASSWORD}@db/x",
        "postgresql+psycopg://${USER}:${ONE}${TWO}@db/x",
        "postgresql+psycopg://db/x?password=${PASSWORD}",
        "postgresql+psycopg://me@db:5432/x?sslkey=/etc/key.pem",
        "sqlite:///C:/data/loans@home.db",
    ],
)
def test_a_variable_stands_for_a_secret(url):
    """A location that names variables, or has no secret, is taken as it is written."""
    assert dataset_from_contract(entry(url), "loans").source.location == url
