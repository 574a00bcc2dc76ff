"""What every model that is read from a file has in common."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from partgate_station._errors import ConfigError


class FileModel(BaseModel):
    """A frozen model that refuses unknown keys, numbers that are not finite, and guesses at types."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, strict=True, use_attribute_docstrings=True
    )


# Names end up in folder names, metrics and addresses.
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]


def check_name(name: str, *, what: str) -> str:
    """Return a name that may stand in files, folders and addresses.

    Raises:
        ConfigError: it may not; says what is allowed.
    """
    try:
        return TypeAdapter(Name).validate_python(name)
    except ValidationError:
        raise ConfigError(
            f"{what}: got {name!r}, expected 1 to 64 of a-z, 0-9, - and _, beginning with a letter or digit"
        ) from None
