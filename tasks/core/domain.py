"""The domain classifier: can a model tell the period's rows from the reference's, and by which features?

Columns looked at one by one may all stand still while what holds between them moves. So a small gradient boosting is asked, row by
row, from which side the row is, and scored on rows that it was not fitted on: an area under the ROC curve of 0.5 says that it
cannot tell, 1 that it always can. A feature drives it by as much as the area falls when the feature's values are shuffled among the
rows held out. It is a measure for people and decides nothing: tasks.core.drift does. Lopez-Paz and Oquab, Revisiting
classifier two-sample tests, ICLR 2017.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tasks.core.drift_summary import Floats, Kind
from tasks.core.intervals import logit_interval, wilson

ROWS = 2_000
"""Most rows of each side that are looked at; a fixed seed chooses them."""
FEWEST = 30
"""With fewer rows on a side nothing is said."""
FOLDS = 4
TOP = 5
"""How many features are named."""
CATEGORIES = 60
"""The commonest categories of a column; the others are taken as one."""
SMALLEST = 0.005
"""A feature whose shuffling costs less area is not named."""
AT_ONCE = 2**22
"""Numbers (32 MB) that one call of the model scores at most, or all of one shuffled column's rows: the answer depends on it in no way."""


@dataclass(frozen=True)
class Driver:
    """A feature, and by how much the area falls when its values are shuffled."""

    column: str
    importance: float


@dataclass(frozen=True)
class Domain:
    """How well the two sides are told apart: the area under the ROC curve, its 95 % interval (of the folds' models as they are), the rows
    of each side that were looked at, and the features that drive it, the strongest first; none where the interval holds 0.5.
    """

    auc: float
    low: float
    high: float
    rows: tuple[int, int]
    drivers: tuple[Driver, ...]

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self) | {"rows": list(self.rows), "drivers": [asdict(one) for one in self.drivers]}

    @staticmethod
    def from_dict(kept: Mapping[str, Any]) -> "Domain":
        """What `to_dict` gave."""
        before, now = kept["rows"]
        return Domain(**{**kept, "rows": (before, now), "drivers": tuple(Driver(**one) for one in kept["drivers"])})


def tell_apart(reference: pd.DataFrame, current: pd.DataFrame, kinds: Mapping[str, Kind]) -> Domain | None:
    """The domain classifier's answer on the columns of `kinds`; None with fewer than `FEWEST` rows on a side.

    Both frames are sampled above `ROWS` rows, so the cost does not grow with them. Missing numbers are told from all others.
    """
    if min(len(reference), len(current)) < FEWEST or not kinds:
        return None
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1, user_api="openmp"):  # trees this small wait for one another on several threads
        return _tell_apart(reference, current, kinds)


def _tell_apart(reference: pd.DataFrame, current: pd.DataFrame, kinds: Mapping[str, Kind]) -> Domain:
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.model_selection import StratifiedKFold

    random = np.random.default_rng(0)
    sides = [_few(frame, random) for frame in (reference, current)]
    rows = len(sides[0]), len(sides[1])
    inputs = np.column_stack([_coded([side[name] for side in sides], kind) for name, kind in kinds.items()])
    truth = np.repeat([0, 1], rows)
    categorical = [kind == "categorical" for kind in kinds.values()]
    areas, errors, falls = [], [], []
    for train, test in StratifiedKFold(FOLDS, shuffle=True, random_state=0).split(inputs, truth):
        model = HistGradientBoostingClassifier(
            max_iter=30, max_leaf_nodes=8, learning_rate=0.2, min_samples_leaf=max(5, len(train) // 100), max_bins=64,
            categorical_features=categorical, early_stopping=False, random_state=0,
        )  # fmt: skip
        model.fit(inputs[train], truth[train])
        area, error = _area(truth[test], model.decision_function(inputs[test]))
        areas.append(area)
        errors.append(error)
        falls.append([area - _area(truth[test], scores)[0] for scores in _shuffled(model, inputs[test], random)])
    auc, low, high = _interval(float(np.mean(areas)), float(np.sqrt(np.mean(np.square(errors)) / FOLDS)), min(rows))
    importance = dict(zip(kinds, np.mean(falls, axis=0).tolist(), strict=True))
    drive = [name for name in kinds if importance[name] >= SMALLEST] if low > 0.5 else []  # of what may be chance nothing is the driver
    named = sorted(drive, key=lambda name: -importance[name])[:TOP]
    return Domain(auc, low, high, rows, tuple(Driver(name, importance[name]) for name in named))


def _shuffled(model: Any, held: Floats, random: np.random.Generator) -> Iterator[Floats]:
    """The scores of the held-out rows with each column shuffled in turn. A call scores several columns' turns, as many as `AT_ONCE` lets."""
    columns = held.shape[1]
    together = max(1, AT_ONCE // held.size)
    for first in range(0, columns, together):
        places = range(first, min(first + together, columns))
        copies = np.tile(held, (len(places), 1)).reshape(len(places), *held.shape)
        for copy, place in zip(copies, places, strict=True):
            copy[:, place] = random.permutation(copy[:, place])
        yield from model.decision_function(copies.reshape(-1, columns)).reshape(len(places), -1)


def _few(frame: pd.DataFrame, random: np.random.Generator) -> pd.DataFrame:
    return frame if len(frame) <= ROWS else frame.iloc[np.sort(random.choice(len(frame), ROWS, replace=False))]


def _coded(sides: list["pd.Series[Any]"], kind: Kind) -> Floats:
    """A column of both sides, one after the other: numbers as they are, categories as numbers by how common they are; missing is NaN."""
    if kind == "numeric":
        numbers = np.concatenate([pd.to_numeric(side).to_numpy(dtype=np.float64, na_value=np.nan) for side in sides])
        return np.where(np.isfinite(numbers), numbers, np.nan)
    texts = pd.concat([side.astype(object).where(side.notna(), None) for side in sides], ignore_index=True).map(str, na_action="ignore")
    known = {text: place for place, text in enumerate(texts.value_counts(sort=True).index[:CATEGORIES])}
    codes: Floats = texts.map(lambda text: known.get(text, CATEGORIES), na_action="ignore").to_numpy(dtype=np.float64, na_value=np.nan)
    return codes


def _area(truth: NDArray[np.int64], scores: Floats) -> tuple[float, float]:
    """The area under the ROC curve, ties counted half, and its standard error. DeLong, DeLong and Clarke-Pearson (1988)."""
    from scipy.stats import rankdata

    one, two = scores[truth == 1], scores[truth == 0]
    together = rankdata(np.concatenate([one, two]))
    above = (together[: one.size] - rankdata(one)) / two.size
    below = 1 - (together[one.size :] - rankdata(two)) / one.size
    error = np.sqrt(above.var(ddof=1) / one.size + below.var(ddof=1) / two.size)
    return float(above.mean()), float(error)


def _interval(value: float, error: float, rows: int) -> tuple[float, float, float]:
    """The value with its interval on the logit scale; Wilson's on the smaller side where the value is 0 or 1."""
    if error > 0 and 0 < value < 1:
        low, high = logit_interval(np.array(value), np.array(error))
    else:
        low, high = wilson(np.array(value), np.array(float(rows)))
    return value, float(low), float(high)
