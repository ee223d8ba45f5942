"""docs/guide.md says what the guide's data says: every question, path, metric, method and source, and nothing that is not there."""

from tasks.core.guide import STAGES, advise, next_question
from tasks.core.guide_data import load_guide
from tasks.io.home import PROJECT

GUIDE = load_guide()
READ = {"gap": "gap of `{}`", "cohort": "`{}` of each cohort", "summary": "summary `{}`"}


def cell(text):
    return text.replace("|", "\\|")


def table(*head):
    return [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]


def row(*cells):
    return f"| {' | '.join(cells)} |"


def questions():
    lines = table("question", "asked", "answers", "from")
    for one in GUIDE.questions:
        when = " or ".join(", ".join(f"{name} {' or '.join(f'`{value}`' for value in values)}" for name, values in part.items()) for part in one.when)
        answers = "<br>".join(
            f"`{answer.id}`: {answer.says}{''.join(f' (so {name} is `{value}`)' for name, value in answer.implies.items())}" for answer in one.answers
        )
        lines.append(row(f"`{one.id}`", one.asks, answers, " and ".join(one.origin) + (f"; when {when}" if when else "")))
    return lines


def tree():
    """The tree as a nested list: the questions on a class with trusted outcomes, for whoever answers about rates. Base rates, asked last, are left out."""
    lines = []

    def walk(known, depth):
        question = next_question(known)
        if question is None or question.id == "base_rates":
            metrics = " and ".join(f"**{one.metric.name}**" for one in advise(known | ({"base_rates": "alike"} if question else {})).fitting)
            lines[-1] += f": {metrics or '**none**: it cannot be measured until there is one'}"
            return
        for answer in question.answers:
            if question.id == "harm" and answer.id != "rates":
                continue
            if question.id == "labels" and answer.id == "doubtful":
                lines.append(f"{'  ' * depth}- {question.id} `{answer.id}`: as `none`, then as `trusted`; both answers hold")
                continue
            lines.append(f"{'  ' * depth}- {question.id} `{answer.id}`")
            walk(known | {question.id: answer.id}, depth + 1)

    walk({"task": "binary"}, 0)
    return lines


def questionnaire():
    lines = table("", "`rationed`", "`rationed`, on scores", "`not_rationed`", "`not_rationed`, on scores")
    known = {"task": "binary", "who": "groups", "standard": "no", "labels": "trusted", "harm": "allocation", "base_rates": "alike"}
    for intervention in ("assistive", "punitive", "neither"):
        cells = []
        for resource in ("rationed", "not_rationed"):
            for threshold in ("fixed", "floating"):
                found = advise({**known, "resource": resource, "intervention": intervention, "threshold": threshold}).fitting
                cells.append(", ".join(one.metric.name for one in found))
        lines.append(row(f"`{intervention}`", *cells))
    return lines


def regression():
    lines = table("answers", "metric")
    for rule in GUIDE.rules:
        if rule.metrics and (rule.when.get("task") == "regression" or "deviation" in rule.when):
            lines.append(row(", ".join(f"{name} `{value}`" for name, value in rule.when.items() if name != "task"), ", ".join(rule.metrics)))
    return lines


def measured():
    lines = table("metric", "asks", "of", "measured as", "limits to start from", "cannot be measured yet", "sources")
    for one in GUIDE.metrics:
        readings = "; ".join(READ[reading.read].format(reading.metric) for reading in one.measured) or "–"
        limits = "<br>".join(
            f"`{{metric: {limit.metric}, {limit.over}: [COLUMN], at_most: {'BOUND' if limit.at_most is None else limit.at_most}, must_show: no_worse}}`"
            for limit in one.limits
        )
        lines.append(row(f"`{one.name}`", one.asks, cell(one.formula), readings, limits or "–", one.cannot or "–", ", ".join(one.sources)))
    return lines


def mapping():
    lines = table("metric", "tasks", *STAGES.values())
    for one in GUIDE.metrics:
        cells = []
        for stage in STAGES:
            found = []
            for move in one.moves:
                method = GUIDE.method(move.method)
                if method.stage == stage:
                    name = method.name + (f" ({move.constraint})" if move.constraint else "")
                    shown = name if method.ours else f"_{name}_"
                    found.append((f"**{shown}**" if move.reach == "direct" else shown) + ("\\*" if move.listed else ""))
            cells.append("<br>".join(dict.fromkeys(found)) or "–")
        lines.append(row(f"`{one.name}`", ", ".join(one.tasks), *cells))
    return lines


def methods():
    lines = table("method", "when", "tasks", "estimator", "what it does", "sources")
    for one in GUIDE.methods:
        does = one.does if one.ours else f"{one.does}; {'instead: ' + ', '.join(one.instead) if one.instead else 'nothing of ours serves the same end'}"
        name = f"`{one.name}`" if one.ours else f"_{one.name}_"
        lines.append(row(name, STAGES[one.stage], ", ".join(one.tasks), one.estimator, does, ", ".join(one.sources)))
    return lines


def impossible():
    lines = table("what", "concerns", "source")
    return lines + [row(one.says, ", ".join(one.metrics), one.source) for one in GUIDE.impossibilities]


def synonyms():
    return [*table("metric", "other names"), *(row(f"`{one.name}`", ", ".join(one.also)) for one in GUIDE.metrics)]


def sources():
    return [*table("key", "source"), *(row(key, text) for key, text in GUIDE.sources.items())]


PARTS = (questions, tree, questionnaire, regression, measured, mapping, methods, impossible, synonyms, sources)


def test_the_page_has_every_line_of_the_data():
    """Questions, tree, table, metrics, mapping, methods, impossibilities, names and sources are in docs/guide.md, each list whole and in order."""
    text = (PROJECT / "docs/guide.md").read_text(encoding="utf-8")
    assert [part.__name__ for part in PARTS if "\n".join(part()) + "\n" not in text] == []


def test_the_page_has_no_line_that_the_data_lacks():
    """A row or list entry of docs/guide.md that names something is generated from the data."""
    known = {line for part in PARTS for line in part()}
    lines = (PROJECT / "docs/guide.md").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if line.startswith("|") and line not in known] == []


def test_the_page_tells_how_to_run_it():
    """Every way of calling the guide is shown."""
    text = (PROJECT / "docs/guide.md").read_text(encoding="utf-8")
    for call in ("equipoise guide  ", "equipoise guide --answers answers.yaml", "equipoise guide --metric", "--write adult --by sex"):
        assert call in text
