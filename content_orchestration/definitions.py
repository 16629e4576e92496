"""The one entry point: loads `defs/`, binds the resources, and runs steps in the run's own process."""

import importlib
import pkgutil
import warnings

import dagster as dg

import content_orchestration.defs as folder
from content_orchestration.resources.bigquery import BigQueryDRResource
from content_orchestration.resources.cleanup import CleanupResource
from content_orchestration.resources.content import ContentStoreResource
from content_orchestration.resources.drill import DrillResource
from content_orchestration.resources.generation import GenerationQueueResource
from content_orchestration.resources.health import HealthResource
from content_orchestration.resources.llm import LlmResource
from content_orchestration.resources.maintenance import MaintenanceResource
from content_orchestration.resources.media import MediaResource
from content_orchestration.resources.notifier import NotifierResource
from content_orchestration.resources.postgres import PostgresResource
from content_orchestration.resources.quota import QuotaResource
from content_orchestration.resources.zerodb import ZeroDBResource
from content_orchestration.settings import get_settings


def _found() -> list[dg.Definitions]:
    """What each module of `defs/` defines.

    `dg.load_from_defs_folder` finds the same, after it has imported every installed package that registers components
    with Dagster, in each process that a run starts.
    """
    names = [module.name for module in pkgutil.walk_packages(folder.__path__, f"{folder.__name__}.")]
    with warnings.catch_warnings():
        for category in (dg.PreviewWarning, dg.BetaWarning):
            warnings.simplefilter("ignore", category)
        return [dg.load_definitions_from_module(importlib.import_module(name)) for name in names]


@dg.definitions
def defs() -> dg.Definitions:
    """All definitions of the project."""
    return dg.Definitions.merge(
        *_found(),
        dg.Definitions(
            resources={
                "postgres": PostgresResource(),
                "zerodb": ZeroDBResource.from_settings(get_settings()),
                "bigquery": BigQueryDRResource(),
                "content": ContentStoreResource(postgres=PostgresResource(), bigquery=BigQueryDRResource()),
                "cleanup": CleanupResource(
                    postgres=PostgresResource(),
                    zerodb=ZeroDBResource.from_settings(get_settings()),
                    bigquery=BigQueryDRResource(),
                ),
                "drill": DrillResource(),
                "media": MediaResource(
                    postgres=PostgresResource(), zerodb=ZeroDBResource.from_settings(get_settings())
                ),
                "generation": GenerationQueueResource(postgres=PostgresResource()),
                "health": HealthResource(),
                "llm": LlmResource(postgres=PostgresResource()),
                "maintenance": MaintenanceResource(),
                "notifier": NotifierResource(),
                "quota": QuotaResource(postgres=PostgresResource()),
            },
            # A process a step costs 2.4 s each here; four empty steps take 0.9 s in one process.
            executor=dg.in_process_executor,
        ),
    )
