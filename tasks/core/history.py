"""The ledger in words: what happened to a case's versions, one sentence an entry."""

from tasks.core.review import Event, review_of


def told(event: Event) -> str:
    """One entry as a sentence, without its time.

    >>> told(Event(1, "2026-01-01T00:00:00+00:00", "boston", "retired", 3, {"why": "outdated", "by": "ada"}))
    'version 3 was retired by ada: outdated'
    """
    body, version = event.body, f"version {event.version}"
    by = f" by {body['by']}" if body.get("by") else ""
    why = f": {body['why']}" if body.get("why") else ""
    match event.kind:
        case "registered":
            made = f"{version} ({body['candidate']}, trained on {', '.join(body['periods'])})"
            return f"{made} was registered by {body.get('author', 'nobody named')}, evidence {body['evidence'][7:19]}"
        case "gated":
            checks = body["decision"]["checks"]
            kept = sum(check["outcome"] == "passed" for check in checks)
            return f"the gate was held on {version}: {body['outcome']}, {kept} of {len(checks)} checks passed"
        case "reviewed":
            review = review_of(event)
            return (
                f"{version} was {review.words}"
                + (f": {review.notes}" if review.notes else "")
                + (f" (conditions: {review.conditions})" if review.conditions else "")
            )
        case "promoted":
            after = f" after version {body['previous']}" if body.get("previous") else ""
            return f"{version} went into production{after}{by}" + (": its alias in MLflow was moved by hand, and it may serve" if body.get("adopted") else "")
        case "refused":
            return f"{version} was refused{by}: {'; '.join(body['missing'])}"
        case "served":
            again = f" again (revision {body['revision']})" if body.get("revision", 1) > 1 else ""
            partial = f", {len(body['missing_parts'])} part(s) could not be read" if body.get("missing_parts") else ""
            drift = "drifted" if body["drifted"] else "no drift" if body["rows"] else "no drift measured"
            return f"{version} scored {body['period']}{again}: {body['rows']:,} rows, {drift}{partial}"
        case "drifted":
            return f"{body['period']} drifted from what {version} was accepted on: {', '.join(body['columns'])}"
        case "rolled back":
            return f"production went back to {version} from version {body['from']}{by}{why}"
        case "retired":
            return f"{version} was retired{by}{why}"
        case "monitored":
            return f"{version} was held against {body['rows']:,} labels of {body['period']}: {body['verdict']}"
        case "incident":
            return f"{body['severity']} incident of {version} in {body['period']}: {body['reason']}"
        case "resolved":
            return f"the incident `{body['key']}` was over in {body['period']}"
        case "responded":
            return f"incident {body['incident']} was answered: {body['action']}" + (f", {body['result']}" if body.get("result") else "")
        case "stopped":
            return f"scoring was stopped{by}{why}"
        case "resumed":
            return f"scoring was taken up again{by}{why}"
        case "metered":
            known = body.get("kg") is not None
            cost = f"{body['kwh'] * 1000:.3g} Wh, {body['kg'] * 1000:.3g} g of CO2-equivalent, {body['method']}" if known else "energy not known"
            return f"a run of `{body['flow']}` took {body['seconds']:.0f} s: {cost}"
