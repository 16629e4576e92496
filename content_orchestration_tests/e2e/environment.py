"""The environment of the whole project on the session's servers: what the Dagster definitions read in these tests."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps

import dagster as dg
import pytest

from content_orchestration.settings import Settings, get_settings

VARIABLES = [str(field.alias) for field in Settings.model_fields.values()]


@contextmanager
def environment(values: dict[str, str]) -> Iterator[pytest.MonkeyPatch]:
    """Only these variables are set; the settings are read anew within, and again by whoever comes after."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [*VARIABLES, "GOOGLE_APPLICATION_CREDENTIALS", "DAGSTER_HOME", "PGPASSWORD"]:
            patch.delenv(name, raising=False)
        for name, value in values.items():
            patch.setenv(name, value)
        get_settings.cache_clear()
        try:
            yield patch
        finally:
            get_settings.cache_clear()


def ports(settings: Settings) -> dict[str, str]:
    """The variables that lead to the session's servers."""
    return {
        "LOCAL_POSTGRES_PORT": str(settings.local_postgres_port),
        "LOCAL_ZERODB_PORT": str(settings.local_zerodb_port),
        "LOCAL_BIGQUERY_PORT": str(settings.local_bigquery_port),
        "LOCAL_BIGQUERY_GRPC_PORT": str(settings.local_bigquery_grpc_port),
    }


def once_an_environment(load: Callable[[], dg.Definitions]) -> Callable[[], dg.Definitions]:
    """Loads definitions anew where the settings were read anew, and only there: they keep the addresses named then."""
    held: list[tuple[Settings, dg.Definitions]] = []

    @wraps(load)
    def loaded() -> dg.Definitions:
        settings = get_settings()
        if not held or held[0][0] is not settings:
            held[:] = [(settings, load())]
        return held[0][1]

    return loaded
