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
            return f"{version} scored {body['period']}: {body['rows']:,} rows, {'drifted' if body['drifted'] else 'no drift'}"
        case "drifted":
            return f"{body['period']} drifted from what {version} was accepted on: {', '.join(body['columns'])}"
        case "rolled back":
            return f"production went back to {version} from version {body['from']}{by}{why}"
        case "retired":
            return f"{version} was retired{by}{why}"
