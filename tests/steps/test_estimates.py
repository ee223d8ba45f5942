"""What an estimate of a period without labels rests on is found once and kept."""

import dataclasses
import json
from types import SimpleNamespace

import numpy as np
import pytest

from tasks import estimates
from tasks.core import estimation
from tasks.io.workbench import Workbench
from tests.conftest import loans

KINDS = {"amount": "numeric", "region": "categorical"}


def test_how_far_the_regressions_miss_is_found_once_for_each_version(project, monkeypatch):
    """A later process reads it, has the same estimator, and fits two regressions instead of eight; another version has its own."""
    bench = Workbench.open("loans")
    table = loans(("2024-01",))
    validation = table.assign(y_true=table["income"], y_pred=table["income"] + np.random.default_rng(0).normal(0, 3, len(table)))
    first = SimpleNamespace(version=1, evidence="sha256:" + "1" * 64, kinds=KINDS)
    made = estimates._losses(bench, first, validation)
    [kept] = bench.store.list("loans", "spread")
    assert tuple(json.loads(bench.store.get(kept.digest))) == made.spread
    assert min(made.spread) > 0
    with monkeypatch.context() as patch:
        patch.setattr(estimation, "_spread", lambda *_: pytest.fail("it was found again"))
        again = estimates._losses(bench, first, validation)
    matrix = made._matrix(validation)
    np.testing.assert_array_equal(again.absolute.predict(matrix), made.absolute.predict(matrix))
    np.testing.assert_array_equal(again.squared.predict(matrix), made.squared.predict(matrix))
    assert dataclasses.replace(again, absolute=None, squared=None) == dataclasses.replace(made, absolute=None, squared=None)
    estimates._losses(bench, SimpleNamespace(version=2, evidence="sha256:" + "2" * 64, kinds=KINDS), validation)
    assert len(bench.store.list("loans", "spread")) == 2
