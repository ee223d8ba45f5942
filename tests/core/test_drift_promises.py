"""What the decision promises over years of looks, on real tables and summaries: few false alarms, and shifts found at once.

`make bench` asks the same of a thousand years.
"""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from tasks.core.case import Drift
from tasks.core.drift import compare
from tasks.core.drift_summary import kinds_of, summarise
from tasks.core.online import ALPHA, level

YEARS, LOOKS, ROWS, CORRECTED = 30, 12, 500, (3, 8)
ANY = Drift(limit=1e-9, missing=1e-9)  # every effect is beyond its limit, so that the tests alone decide


def rows(random, count=ROWS):
    """Rows of one population: ten numeric columns, of which one is rounded and two lack values, and four of 2 to 20 categories."""
    numbers = random.normal(size=(count, 10))
    numbers[:, 0], numbers[:, 1] = np.exp(numbers[:, 0]), numbers[:, 1].round()
    for column, share in ((2, 0.03), (3, 0.4)):
        numbers[random.random(count) < share, column] = np.nan
    frame = pd.DataFrame(numbers).add_prefix("number ")
    for many in (2, 5, 10, 20):
        shares = 1 / np.arange(1, many + 1)
        codes = random.choice(many, count, p=shares / shares.sum())
        frame[f"{many} categories"] = pd.Categorical.from_codes(codes, [f"c{one}" for one in range(many)])
    return frame


KINDS = kinds_of(rows(np.random.default_rng(0)))


def test_years_without_drift_raise_an_alarm_no_more_often_than_is_allowed():
    """Thirty years of twelve looks, two of them at months that were looked at before and of which a fifth of the rows was corrected: no more
    of them have an alarm than 5 % may come to by chance once in a thousand such tests. At 5 % for each look half of them would.
    """
    drawn = rows(np.random.default_rng(17), YEARS * (LOOKS + 1) * ROWS)
    tables = [drawn[first : first + ROWS] for first in range(0, len(drawn), ROWS)]
    alarmed = 0
    for year in range(YEARS):
        reference, *months = tables[year * (LOOKS + 1) : (year + 1) * (LOOKS + 1)]
        for look in CORRECTED:
            months[look] = pd.concat([months[look - 2][ROWS // 5 :], months[look][: ROWS // 5]])
        accepted, alarms = summarise(reference, KINDS), []
        for month in months:
            alarms.append(compare(accepted, summarise(month, KINDS), ANY, level=level(alarms)).alarm)
        alarmed += any(alarms)
    assert alarmed <= stats.binom.ppf(0.999, YEARS, ALPHA)


@pytest.mark.parametrize("before", [0, 3])
def test_a_shift_of_half_a_standard_deviation_is_found_at_once(before):
    """One of fourteen columns at the default limit, n = 500, at the first look and after three quiet ones: in at least 90 % of fifty, and no
    other column is named in more than 5 %.
    """
    random, named = np.random.default_rng(18), []
    for _ in range(50):
        reference, current = rows(random), rows(random)
        current["number 5"] += 0.5
        named += compare(summarise(reference, KINDS), summarise(current, KINDS), Drift(), level=level([False] * before)).drifted_columns
    assert named.count("number 5") >= 0.9 * 50
    assert len(named) - named.count("number 5") <= 0.05 * 50
