"""What all sections have in common."""

from pydantic import (
    BaseModel,
    ConfigDict,
)


class Section(BaseModel):
    """A table of the file: its keys are known and its values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=False)
