"""The quota ledger as a Dagster resource. The ledger is `core/quota/ledger.py`; this file binds it to PostgreSQL."""

from datetime import datetime, timedelta
from uuid import UUID

import dagster as dg

from content_orchestration.core.quota.ledger import QuotaLedger
from content_orchestration.core.quota.reading import Usage, UsagePoint
from content_orchestration.core.quota.reservation import DEFAULT_TTL, Reservation, Settlement, State
from content_orchestration.resources.postgres import PostgresResource


class QuotaResource(dg.ConfigurableResource[QuotaLedger]):
    """Room is reserved before anything is written, and settled after. What each call does and raises: the ledger's."""

    postgres: dg.ResourceDependency[PostgresResource]

    def ledger(self) -> QuotaLedger:
        """The ledger of the platform's database, with all that it can do. It connects when it is first used."""
        return QuotaLedger(self.postgres.client())

    def reserve(
        self,
        tenant: UUID | str,
        brand: UUID | str | None = None,
        bytes: int = 0,  # noqa: A002  (as in the ledger)
        items: int = 0,
        media_bytes: int = 0,
        reason: str = "content",
        ttl: timedelta = DEFAULT_TTL,
        key: str | None = None,
    ) -> Reservation:
        """Set room aside, or raise `QuotaExceeded`."""
        return self.ledger().reserve(tenant, brand, bytes, items, media_bytes, reason, ttl, key)

    def settle(
        self,
        reservation: Reservation | UUID | str,
        bytes: int = 0,  # noqa: A002  (as in the ledger)
        items: int = 0,
        media_bytes: int = 0,
        media_files: int = 0,
    ) -> Settlement:
        """Turn a reservation into use of the actual amounts."""
        return self.ledger().settle(reservation, bytes, items, media_bytes, media_files)

    def release(self, reservation: Reservation | UUID | str) -> State:
        """Give back what a reservation holds."""
        return self.ledger().release(reservation)

    def usage(self, tenant: UUID | str) -> Usage:
        """What a tenant uses, has reserved and may use."""
        return self.ledger().usage(tenant)

    def history(self, tenant: UUID | str, start: datetime, end: datetime) -> list[UsagePoint]:
        """A tenant's recorded usage from `start` to before `end`."""
        return self.ledger().history(tenant, start, end)
