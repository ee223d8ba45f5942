"""Whether a Prefect server lets us in, asked before any work: a flow that is refused half way leaves a traceback instead of a reason."""

import os

from tasks.core.errors import AccessError, UnavailableError
from tasks.io.addresses import without_user


def check_prefect() -> None:
    """Ask the Prefect server in use for its version, with what the settings say of us.

    Raises: AccessError when it refuses, naming what to set and never what was set; UnavailableError when nothing answers.
    """
    import httpx
    from prefect.client.orchestration import get_client
    from prefect.settings import PREFECT_API_URL

    where = without_user(str(PREFECT_API_URL.value()))
    try:
        with get_client(sync_client=True) as client:
            client.api_version()
    except httpx.HTTPStatusError as error:
        status = error.response.status_code
        if status in (401, 403):
            said = "does not take what PREFECT_API_AUTH_STRING says" if os.environ.get("PREFECT_API_AUTH_STRING") else "asks for a user and a password"
            raise AccessError(
                f"Prefect {said}.", where=where, fix="Set PREFECT_API_AUTH_STRING to USER:PASSWORD, as the server's PREFECT_SERVER_API_AUTH_STRING has it."
            ) from None
        raise UnavailableError(f"Prefect answers HTTP {status}.", where=where, fix="See that PREFECT_API_URL names a Prefect server's API.") from None
    except httpx.HTTPError as error:
        raise UnavailableError(
            f"Prefect cannot be reached ({type(error).__name__}).", where=where, fix="Start it with `equipoise up`, or correct PREFECT_API_URL."
        ) from None
