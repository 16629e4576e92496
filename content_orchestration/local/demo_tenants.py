"""Who the demo's tenants are: name, plan, brands, products, languages, and how much each one owns.

Facts only. Rows are made of them in `demo_data.py`.
"""

from dataclasses import dataclass

GIB = 2**30


@dataclass(frozen=True)
class DemoTenant:
    """One tenant. `gib` is the recorded size of all its media, in GiB; `plan_tier` None means free."""

    name: str
    plan_tier: str | None
    languages: tuple[str, ...]
    brands: tuple[str, ...]
    products: tuple[str, ...]
    assets: int
    items: int
    media: int
    gib: float

    @property
    def slug(self) -> str:
        """The name as it stands in addresses."""
        return self.name.lower().replace(" ", "-")

    @property
    def media_bytes(self) -> int:
        """Recorded bytes of all media of the tenant."""
        return round(self.gib * GIB)


DEMO_TENANTS = (
    DemoTenant(
        name="Acme Corporation",
        plan_tier="business",
        languages=("en", "en", "de", "es"),
        brands=("Acme Tools", "Acme Outdoor", "Acme Home"),
        products=("BoltPro 18V", "StepMate Ladder", "TrailStove", "Cabinet 12", "LumaPath"),
        assets=53,
        items=34,
        media=440,
        gib=2.14,
    ),
    DemoTenant(
        name="Stellar Retail Co",
        plan_tier="professional",
        languages=("en", "en", "fr", "ja"),
        brands=("Stellar Fashion", "Stellar Living", "Stellar Kids"),
        products=("Lino Jacket", "Nimbus Parka", "Eik Side Table", "Merino Throw", "Comet Backpack"),
        assets=54,
        items=34,
        media=477,
        gib=2.67,
    ),
    DemoTenant(
        name="Bluebird Bakery",
        plan_tier="free",
        languages=("en", "fr"),
        brands=("Bluebird Bakery",),
        products=("Old Mill Sourdough", "Croissant Amande", "Harbour Rye", "Cake Atelier"),
        assets=8,
        items=5,
        media=60,
        gib=0.41,
    ),
    DemoTenant(
        name="Kaffeehaus Nord",
        plan_tier="starter",
        languages=("de", "de", "en"),
        brands=("Kaffeehaus Nord", "Nordröst"),
        products=("Hausmischung", "Filterkaffee", "Espresso Süd", "Kaltbrüh-Set"),
        assets=10,
        items=7,
        media=84,
        gib=0.93,
    ),
    DemoTenant(
        name="Hanami Travel",
        plan_tier="professional",
        languages=("ja", "zh", "en"),
        brands=("Hanami Travel", "花見旅行"),
        products=("Kyoto Sakura", "温泉めぐり", "Hokkaido Express", "島の休日"),
        assets=13,
        items=9,
        media=128,
        gib=1.38,
    ),
    DemoTenant(
        name="Lumen Health Clinics",
        plan_tier="business",
        languages=("en", "es"),
        brands=("Lumen Clinics", "Lumen Sleep"),
        products=("SleepWell 6", "Lumen Check", "BackUp Class", "TravelShield"),
        assets=14,
        items=9,
        media=132,
        gib=1.22,
    ),
    DemoTenant(
        name="Northgate Logistics",
        plan_tier="enterprise",
        languages=("en", "de"),
        brands=("Northgate Freight", "Northgate Cold Chain"),
        products=("NightParcel", "CryoBox", "ClearDesk", "PalletTrack"),
        assets=16,
        items=10,
        media=149,
        gib=1.86,
    ),
    DemoTenant(
        name="Riverside Books",
        plan_tier=None,
        languages=("en", "fr"),
        brands=("Riverside Books",),
        products=("The Reading Circle", "Poetry Shelf", "Story Hour", "The Gift Box"),
        assets=7,
        items=5,
        media=55,
        gib=0.29,
    ),
)
