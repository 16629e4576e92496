"""The demo's legacy data: which rows every platform table gets. Pure and repeatable: no clock, no connection, no files.

Who the tenants are is in `demo_tenants.py`, what they write in `demo_texts.py`, and loading it in `demo_load.py`.
Media are recorded, not stored: addresses and sizes only.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

from content_orchestration.local.demo_tenants import DEMO_TENANTS, DemoTenant
from content_orchestration.local.demo_texts import EMOJI, LANGUAGES, Draw, body, sentences, title

Row = dict[str, Any]

DEFAULT_SEED = 20_240_201
FIRST_DAY = datetime(2024, 2, 1, 8, 0, tzinfo=UTC)
DAYS = 540
"""All creation times lie in this many days from `FIRST_DAY`; updates follow within 30 days."""

CDN = "https://cdn.platform.example"
STORAGE = "https://storage.platform.example"
CAMPAIGNS = ("spring-launch", "summer-sale", "back-to-work", "winter-gifts")
ASSET_TYPES = (
    *("image", "ad_copy", "image", "video", "headline", "image", "description", "image", "document", "image"),
    *("video", "image", "ad_copy", "image", "headline", "image", "video", "image", "description", "ad_copy"),
)
ITEM_TYPES = ("article", "post", "video", "email", "article", "image", "post", "document", "article", "post", "article")
STATUSES = (*("published",) * 6, "draft", "draft", "scheduled", "archived")
ROLES = ("marketing", "editor", "studio", "social")
MEDIA_FORMS = {
    "image": (("jpg", "image/jpeg"), ("png", "image/png"), ("webp", "image/webp")),
    "video": (("mp4", "video/mp4"), ("webm", "video/webm")),
    "document": (("pdf", "application/pdf"),),
}
MEDIA_WEIGHTS = {"image": (90_000, 3_200_000), "video": (12_000_000, 48_000_000), "document": (60_000, 5_000_000)}
"""Bytes before scaling: the sizes of a tenant are scaled together so that they sum to exactly its total."""

MEDIA_SHARES = {"video": (0.35, 0.05), "document": (0.06, 0.14)}
"""Chance that a medium of such an item is a video, and that it is else a document."""


@dataclass(frozen=True)
class DemoData:
    """Rows by platform table, each a dict from column to value, in the order of insertion."""

    tables: dict[str, tuple[Row, ...]]

    def named_media(self) -> Iterator[tuple[UUID, str, int]]:
        """Every media file that a legacy row names: tenant, address, recorded bytes."""
        for row in self.tables["campaign_assets"]:
            if url := row["file_url"] or row["public_url"]:
                yield row["tenant_id"], url, row["file_size_bytes"]
        for row in self.tables["content_items"]:
            for entry in row["content_metadata"].get("media", ()):
                yield row["tenant_id"], entry["url"], entry["size_bytes"]


def generate(seed: int = DEFAULT_SEED) -> DemoData:
    """The demo data. The same seed gives the same rows, ids and times on every machine."""
    tables: dict[str, list[Row]] = {}
    for tenant in DEMO_TENANTS:
        for name, rows in _Tenant(tenant, seed).rows().items():
            tables.setdefault(name, []).extend(rows)
    return DemoData({name: tuple(rows) for name, rows in tables.items()})


class _Tenant:
    """Makes the rows of one tenant. Each tenant has its own draw, so that a change to one leaves the others alone."""

    def __init__(self, tenant: DemoTenant, seed: int) -> None:
        self.tenant = tenant
        self.seed = seed
        self.draw = Draw(f"{seed}/{tenant.slug}")
        self.id = self._id("tenants", 0)
        self.brands: list[Row] = [
            {"id": self._id("brands", number), "tenant_id": self.id, "name": name}
            for number, name in enumerate(tenant.brands)
        ]
        self.users: list[Row] = [
            {"id": self._id("users", number), "tenant_id": self.id, "email": f"{role}@{tenant.slug}.example"}
            for number, role in enumerate(ROLES)
        ]
        self.sized: list[tuple[Row, str, str]] = []

    def rows(self) -> dict[str, list[Row]]:
        assets = [self._asset(number) for number in range(self.tenant.assets)]
        items = self._items(self.tenant.media - len(self.sized))
        self._record_sizes()
        jobs = [self._render_job(number) for number in range(5)]
        return {
            "tenants": [
                {
                    "id": self.id,
                    "name": self.tenant.name,
                    "slug": self.tenant.slug,
                    "plan_tier": self.tenant.plan_tier,
                    "created_at": FIRST_DAY - timedelta(days=self.draw.integer(30, 400)),
                }
            ],
            "brands": self.brands,
            "users": self.users,
            "topics": [self._topic(number) for number in range(len(self.tenant.products))],
            "articles": [self._article(number) for number in range(4)],
            "campaign_assets": assets,
            "content_items": items,
            "render_jobs": jobs,
            "user_assets": self._user_assets(jobs),
        }

    def _id(self, table: str, number: int) -> UUID:
        return uuid5(NAMESPACE_URL, f"demo:{self.seed}/{self.tenant.slug}/{table}/{number}")

    def _times(self) -> tuple[datetime, datetime]:
        created = FIRST_DAY + timedelta(days=self.draw.integer(0, DAYS - 1), seconds=self.draw.integer(0, 43_199))
        return created, created + timedelta(minutes=self.draw.integer(0, 30 * 24 * 60))

    def _topic(self, number: int) -> Row:
        product = self.tenant.products[number]
        return {
            "id": self._id("topics", number),
            "tenant_id": self.id,
            "topic_title": f"Everything about {product}",
            "keywords": [product, self.draw.pick(self.tenant.brands), self.draw.pick(CAMPAIGNS)],
        }

    def _article(self, number: int) -> Row:
        language = LANGUAGES[self.draw.pick(self.tenant.languages)]
        heading = title(self.draw, language, self.draw.pick(self.tenant.brands), self.draw.pick(self.tenant.products))
        row_id = self._id("articles", number)
        return {"id": row_id, "tenant_id": self.id, "title": heading, "status": self.draw.pick(STATUSES)}

    def _asset(self, number: int) -> Row:
        draw = self.draw
        kind = ASSET_TYPES[number % len(ASSET_TYPES)]
        brand, language = draw.pick(self.brands), LANGUAGES[draw.pick(self.tenant.languages)]
        product, campaign = draw.pick(self.tenant.products), draw.pick(CAMPAIGNS)
        worded = kind not in MEDIA_FORMS or draw.chance(0.7)
        heading = title(draw, language, brand["name"], product)
        created, updated = self._times()
        row: Row = {
            "id": self._id("campaign_assets", number),
            "tenant_id": self.id,
            "brand_id": brand["id"],
            "campaign_space_id": self._id(f"campaign_spaces/{campaign}", 0),
            "user_id": draw.pick(self.users)["id"] if draw.chance(0.9) else None,
            "asset_name": f"{campaign} {product} {kind.replace('_', ' ')} {number + 1:03d}",
            "asset_type": kind,
            "external_asset_id": None,
            "headline_text": heading if worded and kind != "description" else None,
            "ad_copy_text": None,
            "description": None,
            "cta_text": None,
            "file_url": None,
            "public_url": None,
            "file_size_bytes": None,
            "mime_type": None,
            "tags": [campaign, kind, language.code] if draw.chance(0.85) else None,
            "created_at": created,
            "updated_at": updated,
            "deleted_at": None,
        }
        if worded and kind != "headline":
            length = draw.integer(3, 6) if kind in {"ad_copy", "description"} else 2
            column = "description" if kind == "description" else "ad_copy_text"
            row[column] = sentences(draw, language, brand["name"], product, length)
        if kind in {"ad_copy", "headline"} or (worded and draw.chance(0.4)):
            row["cta_text"] = draw.pick(language.calls)
        if kind in MEDIA_FORMS:
            path, mime_type = self._media(row, "file_size_bytes", kind, campaign)
            row["external_asset_id"] = f"dam-{draw.integer(100_000, 999_999)}" if draw.chance(0.5) else None
            row["file_url"] = "" if number % 13 == 12 else f"{STORAGE}/{path}"
            row["public_url"] = f"{CDN}/{path}" if not row["file_url"] or draw.chance(0.6) else None
            row["mime_type"] = mime_type
        return row

    def _items(self, media: int) -> list[Row]:
        rows = [self._item(number) for number in range(self.tenant.items)]
        # Two each, and the rest where the draw puts it: some rows name many files, as galleries do.
        counts = [2] * len(rows)
        for _ in range(media - 2 * len(rows)):
            counts[self.draw.integer(0, len(rows) - 1)] += 1
        for row, count in zip(rows, counts, strict=True):
            row["content_metadata"]["media"] = [self._entry(row["content_type"]) for _ in range(count)]
        return rows

    def _item(self, number: int) -> Row:
        draw = self.draw
        kind = ITEM_TYPES[number % len(ITEM_TYPES)]
        brand, language = draw.pick(self.brands), LANGUAGES[draw.pick(self.tenant.languages)]
        products = draw.sample(self.tenant.products, len(self.tenant.products))
        heading = title(draw, language, brand["name"], products[0])
        if kind == "post" and draw.chance(0.5):
            heading = f"{heading} {draw.pick(EMOJI)}"
        created, updated = self._times()
        return {
            "id": self._id("content_items", number),
            "tenant_id": self.id,
            "brand_id": brand["id"],
            "user_id": draw.pick(self.users)["id"],
            "title": heading,
            "content_body": body(draw, language, kind, heading, brand["name"], products),
            "content_type": kind,
            "status": draw.pick(STATUSES),
            "content_metadata": {
                "language": language.code,
                "tags": draw.sample([*CAMPAIGNS, kind, *self.tenant.products], draw.integer(0, 4)),
                "channel": draw.pick(("blog", "newsletter", "instagram", "linkedin", "website")),
                "seo": {"score": draw.integer(41, 98), "keywords": draw.sample(self.tenant.products, 2)},
            },
            "created_at": created,
            "updated_at": updated,
        }

    def _entry(self, content_type: str) -> Row:
        video, document = (
            (0.35, 0.05) if content_type == "video" else (0.06, 0.14 if content_type == "document" else 0.03)
        )
        kind = "video" if self.draw.chance(video) else "document" if self.draw.chance(document) else "image"
        entry: Row = {"url": "", "mime_type": "", "size_bytes": 0}
        path, entry["mime_type"] = self._media(entry, "size_bytes", kind, "library")
        entry["url"] = f"{STORAGE}/{path}"
        if self.draw.chance(0.7):
            entry["kind"] = kind
        return entry

    def _media(self, owner: Row, column: str, kind: str, folder: str) -> tuple[str, str]:
        extension, mime_type = self.draw.pick(MEDIA_FORMS[kind])
        self.sized.append((owner, column, kind))
        return f"{self.tenant.slug}/{folder}/{kind}-{len(self.sized):04d}.{extension}", mime_type

    def _record_sizes(self) -> None:
        weights = [self.draw.integer(*MEDIA_WEIGHTS[kind]) for _, _, kind in self.sized]
        total = sum(weights)
        sizes = [weight * self.tenant.media_bytes // total for weight in weights]
        left = self.tenant.media_bytes - sum(sizes)
        for number, (owner, column, _) in enumerate(self.sized):
            owner[column] = sizes[number] + (1 if number < left else 0)

    def _render_job(self, number: int) -> Row:
        row_id = self._id("render_jobs", number)
        status = ("completed", "completed", "completed", self.draw.pick(("pending", "processing")), "failed")[number]
        path = f"{self.tenant.slug}/renders/{row_id}.mp4"
        forms = (
            f"{STORAGE}/storage/v1/object/sign/renders/{path}?token=demo-{number}",
            f"{STORAGE}/storage/v1/object/public/renders/{path}",
            f"s3://renders/{path}",
            f"gs://renders/{path}",
            f"renders/{path}",
        )
        created, updated = self._times()
        return {
            "id": row_id,
            "user_id": self.draw.pick(self.users)["id"],
            "status": status,
            "output_url": forms[(number + DEMO_TENANTS.index(self.tenant)) % len(forms)]
            if status == "completed"
            else None,
            "created_at": created,
            "updated_at": updated,
        }

    def _user_assets(self, jobs: Sequence[Row]) -> list[Row]:
        """Two saved renders and one upload; a completed render that nobody saved is an orphan."""
        saved = [(job["user_id"], job["updated_at"], {"render_job_id": str(job["id"])}) for job in jobs[:2]]
        upload = (self.draw.pick(self.users)["id"], self._times()[1], {"original_name": "logo.svg"})
        return [
            {
                "id": self._id("user_assets", number),
                "user_id": user_id,
                "asset_type": "generated_saved" if "render_job_id" in metadata else "uploaded",
                "metadata": metadata,
                "file_size": self.draw.integer(20_000, 30_000_000),
                "created_at": at,
            }
            for number, (user_id, at, metadata) in enumerate([*saved, upload])
        ]
