"""Settings from the environment and from flags, validated at start.

A service declares one :class:`ServiceSettings`; a field's first alias is its flag (``wss_port`` is ``--wss-port``),
every alias is an environment variable. Flags win over the environment.
"""

import sys
from typing import NoReturn, TypeVar

from pydantic import AliasChoices, Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError


class ServiceSettings(BaseSettings):
    """What every service understands."""

    model_config = SettingsConfigDict(
        cli_kebab_case=True,
        cli_avoid_json=True,
        cli_implicit_flags=True,
        env_ignore_empty=True,  # an env file's `NAME=` is a value not given, not an empty one
        extra="ignore",
        frozen=True,
        populate_by_name=True,
    )

    logging_level: str = Field(
        "INFO",
        validation_alias=AliasChoices("logging_level", "LOGGING_LEVEL", "AAI_LOG_LEVEL"),
        pattern="(?i)^(debug|info|warning|error|critical)$",
        description="DEBUG, INFO, WARNING, ERROR or CRITICAL",
    )
    use_structured_logging: bool = Field(
        False,
        validation_alias=AliasChoices("use_structured_logging", "USE_STRUCTURED_LOGGING", "AAI_USE_STRUCTURED_LOGGING"),
        description="log one JSON object a line",
    )
    credential_file: str = Field(
        ...,
        min_length=1,
        validation_alias=AliasChoices("credential_file", "STREAMSTACK_CREDENTIAL_FILE"),
        description="file with the stack's bearer token, one a line; the first is sent, all are accepted",
    )


Settings = TypeVar("Settings", bound=ServiceSettings)


def load(settings: type[Settings], argv: list[str] | None = None) -> Settings:
    """Settings of a service from ``argv`` (default ``sys.argv[1:]``) and the environment; exits 2 with reasons."""
    try:
        return settings(_cli_parse_args=sys.argv[1:] if argv is None else argv)
    except ValidationError as error:
        _refuse(settings, error)
    except SettingsError as error:
        refuse_start([str(error)])


def _refuse(settings: type[Settings], error: ValidationError) -> NoReturn:
    lines = []
    for problem in error.errors(include_input=False, include_url=False):
        name = ".".join(str(part) for part in problem["loc"])
        message = problem["msg"].removeprefix("Value error, ")
        lines.append(f"{_names(settings, name)}: {message}" if name else message)
    refuse_start(lines)


def _names(settings: type[ServiceSettings], location: str) -> str:
    for name, field in settings.model_fields.items():
        alias = field.validation_alias
        choices = [str(choice) for choice in alias.choices] if isinstance(alias, AliasChoices) else [name]
        if location.lower() in {name, *(choice.lower() for choice in choices)}:
            variables = [choice for choice in choices if choice.isupper()]
            return " / ".join([f"--{name.replace('_', '-')}", *variables])
    return location


def refuse_start(lines: list[str]) -> NoReturn:
    """Exit 2 and say why, one reason a line: what every service does with a configuration it cannot use."""
    sys.stderr.write("".join(f"configuration: {line}\n" for line in lines))
    raise SystemExit(2)
