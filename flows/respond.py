"""Flow: do what the case's rules ask for about what was found in production, once for each incident."""

from typing import Any

from prefect import flow

from tasks.alerts import announce, raise_staleness
from tasks.carbon import record_energy
from tasks.core.errors import EquipoiseError, UnavailableError
from tasks.core.incidents import Incident, no_return
from tasks.core.operations import Action
from tasks.core.review import production_version
from tasks.core.strict import Name
from tasks.io.emissions import track
from tasks.io.leases import lease
from tasks.io.workbench import Workbench
from tasks.promotion import roll_back
from tasks.responses import ask_for_training, next_unanswered, notify, record_answer, stop_scoring
from tasks.showing import show_served
from tasks.step import say


@flow(name="respond", flow_run_name="respond {case}", timeout_seconds=3600)
def respond(case: Name = "boston") -> dict[str, Any]:
    """Answer what is unanswered: stop, roll back, ask for training, notify, as the rules in force when the incident was entered say.

    It is run each day, whatever becomes of scoring, and so looks first at how old the newest scored period is.

    What cannot be done now does not keep the rest from being done; it stays unanswered for the next run, and this run fails and says why.
    """
    bench, done, failed = Workbench.open(case), list[dict[str, Any]](), list[str]()
    with lease(bench.ledger, case, "respond") as held:
        if not held:
            say(f"another run responds for {case}")
            return {"case": case, "done": []}
        if (production := production_version(bench.ledger.events(case))) is not None:
            raise_staleness(bench, production)
        tried: set[tuple[int, Action]] = set()
        if (found := next_unanswered(bench, tried)) is not None:
            with track(country=bench.case.carbon.country, name="respond", short=True) as meter:
                while found is not None:
                    incident, action = found
                    tried.add((incident.sequence, action))
                    try:
                        result = _do(bench, incident, action)
                    except EquipoiseError as error:
                        failed.append(f"incident {incident.sequence}, {action}: {error}")
                    else:
                        done += [{"incident": incident.sequence, "action": action, "result": result}] if result else []
                    found = next_unanswered(bench, tried)
            if done:
                record_energy(bench, "respond", meter.result)
        announce(bench)
    if done:
        show_served(bench)  # what cannot be shown now is shown by the next run of infer
    if failed:
        raise UnavailableError("; ".join(failed), fix=f"What was not done is tried again by: equipoise respond {case}")
    return {"case": case, "done": done}


def _do(bench: Workbench, incident: Incident, action: Action) -> str:
    """What was done, in words; empty when it has to wait."""
    match action:
        case "stop":
            return str(stop_scoring(bench, incident))
        case "retrain":
            return str(ask_for_training(bench, incident))
        case "notify":
            return str(notify(bench, incident))
        case "rollback":
            reason = no_return(bench.ledger.events(bench.case.case), incident.version)
            if not reason:
                left, back = roll_back(bench, f"incident {incident.sequence}: {incident.reason}", leaving=incident.version)
                reason = f"production went back to version {back} from version {left}"
            return record_answer(bench, incident, "rollback", reason)
