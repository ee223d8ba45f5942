"""What every model of a case file shares: frozen values, known keys only, and names that are safe as file names."""

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, WithJsonSchema

NAME = re.compile(r"[a-z][a-z0-9_-]{0,62}")


def _name(value: str) -> str:
    if not NAME.fullmatch(value):
        raise ValueError(f"{value!r} is not a name: use lower-case letters, digits, '-' and '_', starting with a letter")
    return value


Name = Annotated[str, AfterValidator(_name), WithJsonSchema({"type": "string", "pattern": f"^{NAME.pattern}$"})]
"""The pattern is what Prefect's page checks before a run."""
Country = Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
"""An ISO 3166 code of three letters."""


class Strict(BaseModel):
    """Frozen, and refuses keys it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
