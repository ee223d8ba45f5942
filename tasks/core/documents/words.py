"""Plain words for what the scorecard shows, for people who read neither code nor statistics."""

import re

from tasks.core.candidate_spec import CandidateSpec
from tasks.core.gate import Check
from tasks.core.guide_data import load_guide
from tasks.core.limits import FACTS
from tasks.core.metrics import METRICS

BOUND = re.compile(r"(<=|>=) (\S+?)(?: \((must[^()]*)\))?$")

NUMBER = r"(-?[0-9][0-9.,e+-]*)"
INTERVALS = (
    (re.compile(rf"=\(-inf, {NUMBER}\]"), r" up to \1"),
    (re.compile(rf"=\({NUMBER}, inf\)"), r" above \1"),
    (re.compile(rf"=\({NUMBER}, {NUMBER}\]"), r" above \1 up to \2"),
)

LABELS: dict[str, tuple[str, str]] = {
    "accuracy": ("right answers", "the share of cases it tells rightly"),
    "balanced_accuracy": ("balanced right answers", "the mean of two shares: true yes cases it finds, and true no cases it leaves"),
    "precision": ("yes answers that are right", "of the cases it says yes to, the share that truly are"),
    "recall": ("true cases found", "of the cases that truly are yes, the share it finds"),
    "specificity": ("true no cases left alone", "of the cases that truly are no, the share it says no to"),
    "f1": ("balance of finding and being right", "high only when it finds most true cases and most of its yes answers are right"),
    "false_positive_rate": ("false alarms", "of the cases that truly are no, the share it says yes to by mistake"),
    "false_negative_rate": ("missed cases", "of the cases that truly are yes, the share it misses"),
    "selection_rate": ("yes answers", "the share of all cases it says yes to"),
    "base_rate": ("true yes cases", "the share of all cases that truly are yes"),
    "roc_auc": ("ranking", "how often a true yes case gets a higher score than a true no case; 0.5 is chance"),
    "log_loss": ("error of the scores", "how far its scores are from what happened; 0 is perfect"),
    "brier": ("error of the scores", "the mean squared distance of its scores from what happened; 0 is perfect"),
    "mae": ("typical error", "how far its answer is from the truth on average, in the unit of what is predicted"),
    "median_ae": ("middle error", "half of its errors are smaller than this, in the unit of what is predicted"),
    "rmse": ("error with weight on large ones", "like the typical error, and one large error weighs more than several small ones"),
    "mse": ("squared error", "the mean of the squared errors"),
    "mape": ("typical error as a share", "how far its answer is from the truth on average, as a share of the truth"),
    "r2": ("differences explained", "the share of the differences between cases that it explains; 1 is all of them"),
    "mean_error": ("lean", "whether its answers are too high (above 0) or too low (below 0) on average"),
}
"""Metric: its name in plain words, and what it counts."""

BETTER = {"higher": "Higher is better.", "lower": "Lower is better.", "zero": "Nearer to 0 is better.", "none": "Neither way is better in itself."}
OUTCOMES = {"passed": "✓ kept", "failed": "✗ not kept", "insufficient evidence": "? insufficient evidence"}
CHANGES = {"better": "▲ better", "worse": "▼ worse", "changed": "◆ changed", "no evidence": "no evidence of a change"}
"""Verdicts in words and a sign, never by colour alone."""


def label(metric: str) -> str:
    """A metric in plain words, with its name for those who look it up.

    >>> label("mae")
    'typical error (mae)'
    """
    return f"{LABELS[metric][0]} ({metric})" if metric in LABELS else metric


def meaning(metric: str) -> str:
    """What a metric counts, and which way is better."""
    known = METRICS.get(metric)
    says = LABELS[metric][1] if metric in LABELS else known.formula if known is not None else "see the model card"
    return f"{says[0].upper()}{says[1:]}. {BETTER[known.better] if known is not None else ''}".strip()


def group(cohort: str) -> str:
    """A cohort in plain words: intervals as bounds.

    >>> group("B=(-inf, 390], LSTAT=(8, 16]"), group("age=(65, inf)"), group("overall")
    ('B up to 390, LSTAT above 8 up to 16', 'age above 65', 'everyone')
    """
    if cohort == "overall":
        return "everyone"
    for pattern, plainly in INTERVALS:
        cohort = pattern.sub(plainly, cohort)
    return cohort


def subject(check: Check) -> str:
    """What a limit looks at, in plain words.

    >>> subject(Check("mae for overall <= 4", "mae for overall", 1.0, 1.0, 1.0, "passed", ""))
    'typical error (mae), for everyone'
    """
    name, _, rest = check.subject.partition(" ")
    if name.rstrip(":") in FACTS:
        return check.subject.partition(": ")[2] or check.subject
    if rest.startswith("gap by "):
        return f"{label(name)}: largest difference between groups by {rest.removeprefix('gap by ')}"
    if rest.startswith("ratio by "):
        return f"{label(name)}: lowest group as a share of the highest, by {rest.removeprefix('ratio by ')}"
    if rest.startswith("against "):
        other, _, cohort = rest.removeprefix("against ").partition(" for ")
        return f"{label(name)}: change beside {other}, for {group(cohort)}"
    if rest.startswith("for "):
        return f"{label(name)}, for {group(rest.removeprefix('for '))}"
    return check.subject


def target(check: Check) -> str:
    """The bound of a limit.

    >>> target(Check("mae for overall <= 4 (must be shown)", "mae for overall", 1.0, 1.0, 1.0, "passed", ""))
    'at most 4, with its whole range'
    """
    found = BOUND.search(check.limit)
    if found is None:
        return check.limit.removeprefix(check.subject).strip()
    asked = {"must be shown": ", with its whole range", "must not be shown broken": ", not clearly beyond"}.get(found[3] or "", "")
    return f"{'at most' if found[1] == '<=' else 'at least'} {found[2]}{asked}"


def outcome(check: Check) -> str:
    """Whether a limit was kept, and whether that is on somebody's word."""
    return OUTCOMES[check.outcome] + (", by a waiver" if check.outcome == "passed" and "; waived by " in check.reason else "")


def steps(spec: CandidateSpec) -> tuple[str, ...]:
    """What a candidate does against unequal errors, a sentence for each step."""
    known = {method.name: method.does for method in load_guide().methods}
    found = []
    for step in spec.steps():
        aimed = f", by {', '.join(step.by)}" if step.by else ""
        found.append(f"{step.method.replace('_', ' ')}{aimed}" + (f": {known[step.method]}" if step.method in known else ""))
    return tuple(dict.fromkeys(found))
