"""The platform's tables as external assets: where lineage begins. This project reads them and never creates them."""

import dagster as dg

from content_orchestration.core.schema.platform import PLATFORM_COLUMNS

_TEXT = {
    "tenants": "Tenants and their plan.",
    "brands": "Brands of a tenant.",
    "users": "Users of a tenant.",
    "topics": "Topics that articles are generated for.",
    "articles": "Articles of the platform.",
    "campaign_assets": "Legacy campaign assets; no body is stored anywhere.",
    "content_items": "Legacy content items; the body is in the row.",
    "render_jobs": "Renders, saved or not.",
    "user_assets": "What users saved.",
}

PLATFORM_KEYS = {table: dg.AssetKey(["platform", table]) for table in PLATFORM_COLUMNS}


PLATFORM_TABLES = [
    dg.AssetSpec(
        key,
        group_name="platform",
        description=_TEXT[table],
        kinds={"postgres"},
        metadata={
            "dagster/table_name": table,
            "dagster/column_schema": dg.TableSchema(
                [dg.TableColumn(name, kind) for name, kind in PLATFORM_COLUMNS[table].items()]
            ),
        },
    )
    for table, key in PLATFORM_KEYS.items()
]
