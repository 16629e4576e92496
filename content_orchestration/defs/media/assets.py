"""Are files stored, sized and described? One partition a tenant; every step goes on where the last run was cut off."""

from typing import Any
from uuid import UUID

import dagster as dg
from pydantic import Field

from content_orchestration.core.media.pipeline import OnStep, process_waiting, store_waiting
from content_orchestration.core.media.tagging import tag_waiting
from content_orchestration.core.media.thumbnails import as_markdown
from content_orchestration.core.media.variants import VariantSettings
from content_orchestration.defs.media.tenants import each_tenant
from content_orchestration.defs.migration.assets import campaign_assets_migrated, content_items_migrated
from content_orchestration.failures import explained
from content_orchestration.policies import KIND_POSTGRES, OWNERS, RETRY, TENANTS
from content_orchestration.presentation import values
from content_orchestration.resources.media import MediaResource
from content_orchestration.resources.media_images import variant_settings
from content_orchestration.resources.postgres import PostgresResource
from content_orchestration.settings import get_settings


class MediaFilesConfig(dg.Config):
    """How much one run takes in."""

    most: int = Field(
        default=10_000,
        ge=1,
        le=1_000_000,
        description="Files of a tenant that one run fetches or tries; the rest waits for the next. About 20 small "
        "files a second from a fast source.",
    )


class MediaVariantsConfig(dg.Config):
    """Which variants, and for which files."""

    sizes: list[int] = Field(
        default_factory=list,
        description="Widths in pixels, 16 to 8192. Empty takes MEDIA_VARIANT_SIZES.",
    )
    quality: int | None = Field(
        default=None, ge=1, le=100, description="Quality of JPEG and WebP. Without one: MEDIA_JPEG_QUALITY."
    )
    remake: bool = Field(
        default=False,
        description="False makes variants for files that have none. True also replaces those that were made with other "
        "sizes or quality: a page has the old ones until the next are all there; the old files are left for cleanup.",
    )
    most: int = Field(
        default=10_000,
        ge=1,
        le=1_000_000,
        description="Files of a tenant that one run describes; the rest waits for the next. About 20 pictures of 6 "
        "megapixels a second and core.",
    )


@dg.asset(
    group_name="media",
    deps=[campaign_assets_migrated, content_items_migrated],
    partitions_def=TENANTS,
    backfill_policy=dg.BackfillPolicy.single_run(),
    kinds={KIND_POSTGRES},
    owners=OWNERS,
    retry_policy=RETRY,
)
def media_files(
    context: dg.AssetExecutionContext, config: MediaFilesConfig, postgres: PostgresResource, media: MediaResource
) -> None:
    """Files that rows ask for or that were dropped, stored once a tenant. Migrated rows are references until asked."""
    database = postgres.client()

    def take_in(tenant_id: UUID, advance: OnStep) -> dict[str, Any]:
        dropped = inbox.register(tenant_id, config.most)
        report = store_waiting(database, ingestor, tenant_id, most=config.most, on_step=advance)
        return values(report.as_metadata() | dropped.as_metadata())

    with explained():
        inbox, ingestor = media.inbox(), media.ingestor()
        each_tenant(context, database, "media_objects", take_in, leave_to_others=True)


@dg.asset(
    group_name="media",
    deps=[media_files],
    partitions_def=TENANTS,
    backfill_policy=dg.BackfillPolicy.single_run(),
    kinds={KIND_POSTGRES},
    owners=OWNERS,
    retry_policy=RETRY,
)
def media_variants(
    context: dg.AssetExecutionContext, config: MediaVariantsConfig, postgres: PostgresResource, media: MediaResource
) -> None:
    """Sizes, description and tags of every stored file; in the rows that name it, so that it replicates by itself."""
    database = postgres.client()

    def describe(tenant_id: UUID, advance: OnStep) -> dict[str, Any]:
        report = process_waiting(
            database, processor, tenant_id, most=config.most, remake=config.remake, on_step=advance
        )
        tags = tag_waiting(database, processor.stores, media.vision(), tenant_id, most=config.most)
        return (
            {"made_with": processor.settings.key, "pictures": dg.MetadataValue.md(as_markdown(report.thumbnails))}
            | values(report.as_metadata())
            | {f"tags_of_the_model_{name}": value for name, value in tags.outcomes.items()}
        )

    with explained():
        processor = media.processor(_wanted(config))
        each_tenant(context, database, "media_variants", describe, leave_to_others=not config.remake)


def _wanted(config: MediaVariantsConfig) -> VariantSettings:
    usual = variant_settings(get_settings())
    return VariantSettings(
        tuple(config.sizes) or usual.sizes,
        usual.quality if config.quality is None else config.quality,
        usual.describe,
    )
