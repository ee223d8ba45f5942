"""Which p-value counts in a stream of tests: LORD++ keeps the share of false alarms among all alarms below alpha at any time.

With nothing to find, the chance that any test of the whole stream raises an alarm is at most alpha. Each alarm earns some of it
back, so that a world that has moved is seen more sharply. Ramdas, Yang, Wainwright and Jordan, Online control of the false
discovery rate with decaying memory, 2017.
"""

from collections.abc import Sequence

import numpy as np

ALPHA = 0.05


def level(alarms: Sequence[bool], alpha: float = ALPHA) -> float:
    """The level of the next test, given which of the earlier ones raised an alarm, oldest first.

    >>> round(level([]), 4), level([False] * 11) < level([False]), level([True]) > level([False])
    (0.0152, True, True)
    """
    now, first = len(alarms) + 1, alpha / 2
    raised = [place for place, alarm in enumerate(alarms, start=1) if alarm]
    found = _share(now) * first
    for number, place in enumerate(raised):
        found += _share(now - place) * (alpha - first if number == 0 else alpha)
    return found


def _share(place: int) -> float:
    """The part of the wealth that the test at a place spends; over all places it adds up to 1."""
    return 6 / (np.pi * place) ** 2
