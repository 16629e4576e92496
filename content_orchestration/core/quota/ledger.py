"""The ledger: reserve, settle, release, give back. A limit holds under any concurrency.

One conditional UPDATE a scope decides, in the tenant and in the brand or in neither. The functions of revision 0006 do
it in one round trip; here arguments are checked and outcomes become results and errors. Expiry, pruning and plans are
in `upkeep.py`, reading in `reading.py`. Content in BigQuery does not count.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from psycopg import Connection

from content_orchestration.core.database import Database, Row
from content_orchestration.core.quota.at_once import at_once, one
from content_orchestration.core.quota.outcomes import decision_of, refuse
from content_orchestration.core.quota.plans import PLANS, Plan, limits_document
from content_orchestration.core.quota.reading import Usage, UsagePoint, read_history, read_usage
from content_orchestration.core.quota.rejections import rejections_of
from content_orchestration.core.quota.reservation import (
    DEFAULT_TTL,
    GENERATION,
    Amounts,
    Reservation,
    Settlement,
    State,
    identifier,
    label,
    lifetime,
)
from content_orchestration.core.quota.upkeep import AppliedPlan, Reaped, apply_plan, reap


class QuotaLedger:
    """The ledger of one database. The methods that end in `_in` work in the caller's transaction.

    Such a caller should make the call its last statement: from then to the commit it holds the tenant's row, which
    everybody who stores for the tenant needs. A transaction that calls for several tenants must do so in order of id.
    """

    def __init__(self, database: Database, *, plans: Mapping[str, Plan] = PLANS) -> None:
        self._database = database
        self._table = plans
        self._plans = limits_document(plans)
        self._rejections = rejections_of(database)

    def reserve(
        self,
        tenant: UUID | str,
        brand: UUID | str | None = None,
        bytes: int = 0,  # noqa: A002  (what it is, in every signature of the ledger)
        items: int = 0,
        media_bytes: int = 0,
        reason: str = "content",
        ttl: timedelta = DEFAULT_TTL,
        key: str | None = None,
    ) -> Reservation:
        """Set room aside for bodies of `bytes` and media of `media_bytes` on top, in the tenant and in the brand.

        With reason `generation` the items count against the plan's items a month. `key` makes it idempotent within
        the tenant: the same request again answers the same reservation, in the state that it has by then, and adds
        nothing. Where there is no room, expired reservations of the tenant are reaped, and it is tried once more.

        Raises `QuotaExceeded`, `InvalidRequest`, `UnknownTenant`, `UnknownBrand` and `KeyReused`: nothing is reserved
        then. `Transient` when the answer was lost; with a `key` it can be asked again.
        """
        values = self._request(tenant, brand, Amounts(bytes, items, media_bytes), reason, ttl, key)
        row = self._at_once("quota/reserve", values)
        if row["outcome"] == "exceeded" and reap(self._database, values["tenant_id"]).reservations:
            row = self._at_once("quota/reserve", values)
        if row["outcome"] == "exceeded":
            self._rejections.note(row["scope"], tenant=values["tenant_id"])
            self._rejections.write_when_due(self._database)
        return _reservation(values, row)

    def reserve_in(
        self,
        connection: Connection[Row],
        tenant: UUID | str,
        brand: UUID | str | None = None,
        bytes: int = 0,  # noqa: A002  (as in `reserve`)
        items: int = 0,
        media_bytes: int = 0,
        reason: str = "content",
        ttl: timedelta = DEFAULT_TTL,
        key: str | None = None,
    ) -> Reservation:
        """As `reserve`, in the caller's transaction, which stays usable after a refusal. Nothing is reaped."""
        values = self._request(tenant, brand, Amounts(bytes, items, media_bytes), reason, ttl, key)
        row = one(connection, "quota/reserve", values)
        if row["outcome"] == "exceeded":
            # Written with the next call: a caller that holds a connection may not need a second one.
            self._rejections.note(row["scope"], tenant=values["tenant_id"])
        return _reservation(values, row)

    def settle(
        self,
        reservation: Reservation | UUID | str,
        bytes: int = 0,  # noqa: A002  (as in `reserve`)
        items: int = 0,
        media_bytes: int = 0,
        media_files: int = 0,
    ) -> Settlement:
        """Turn a reservation into use of the actual amounts, parts that were settled before included, and end it.

        What is not needed goes back; what goes beyond is granted only where it fits. An expired reservation is settled
        as if nothing had been reserved. The same again changes nothing.

        Raises `QuotaExceeded` (the reservation stays as it was), `InvalidRequest`, `UnknownReservation`,
        `ReservationEnded`.
        """
        return self._settled(reservation, Amounts(bytes, items, media_bytes, media_files), part=False)

    def settle_in(
        self,
        connection: Connection[Row],
        reservation: Reservation | UUID | str,
        bytes: int = 0,  # noqa: A002  (as in `reserve`)
        items: int = 0,
        media_bytes: int = 0,
        media_files: int = 0,
    ) -> Settlement:
        """As `settle`, in the transaction that writes the rows: both happen or neither. It stays usable after a no."""
        return self._settled(
            reservation, Amounts(bytes, items, media_bytes, media_files), part=False, connection=connection
        )

    def settle_part_in(
        self,
        connection: Connection[Row],
        reservation: Reservation | UUID | str,
        bytes: int = 0,  # noqa: A002  (as in `reserve`)
        items: int = 0,
        media_bytes: int = 0,
        media_files: int = 0,
    ) -> Settlement:
        """Settle one more part of a batch's reservation, which goes on; `release` ends it and gives the rest back.

        Not idempotent by itself: it belongs into the transaction that writes the part's rows. Raises as `settle`.
        """
        return self._settled(
            reservation, Amounts(bytes, items, media_bytes, media_files), part=True, connection=connection
        )

    def release(self, reservation: Reservation | UUID | str) -> State:
        """Give back what a reservation still holds, and end it; the state that it has then.

        One that has ended stays as it is, so a release may stand in a `finally`. Raises `UnknownReservation`.
        """
        return _state(reservation, self._at_once("quota/release", _named(reservation)))

    def release_in(self, connection: Connection[Row], reservation: Reservation | UUID | str) -> State:
        """As `release`, in the caller's transaction."""
        return _state(reservation, one(connection, "quota/release", _named(reservation)))

    def renew(self, reservation: Reservation | UUID | str, ttl: timedelta = DEFAULT_TTL) -> State:
        """Let a reservation live for `ttl` from here on (never shorter than it would); its state.

        One that has ended, for example by expiry, stays so. Raises `UnknownReservation` and `InvalidRequest`.
        """
        return _state(reservation, self._at_once("quota/renew", _named(reservation) | {"ttl": lifetime(ttl)}))

    def give_back_in(
        self,
        connection: Connection[Row],
        tenant: UUID | str,
        brand: UUID | str | None = None,
        bytes: int = 0,  # noqa: A002  (as in `reserve`)
        items: int = 0,
        media_bytes: int = 0,
        media_files: int = 0,
    ) -> None:
        """Take deleted content out of the counters, in the transaction that deletes it. They never go below 0.

        A tenant or brand without counters is left alone: they will begin with what is stored then. The items of a
        month stay counted. Raises `InvalidRequest`.
        """
        amounts = Amounts(bytes, items, media_bytes, media_files)
        one(connection, "quota/give_back", _owner(tenant, brand) | amounts.as_values())

    def usage(self, tenant: UUID | str) -> Usage:
        """What a tenant uses, has reserved and may use. Raises `UnknownTenant` and `InvalidRequest`."""
        return read_usage(self._database, tenant, plans=self._table)

    def history(self, tenant: UUID | str, start: datetime, end: datetime) -> list[UsagePoint]:
        """A tenant's recorded usage from `start` to before `end`. Raises `InvalidRequest` where a zone is missing."""
        return read_history(self._database, tenant, start, end)

    def reap(self, tenant: UUID | str | None = None) -> Reaped:
        """End expired reservations, of one tenant or of all, and give back what they held."""
        return reap(self._database, None if tenant is None else identifier("tenant", tenant))

    def apply_plan(self, tenant: UUID | str) -> AppliedPlan:
        """Bring a tenant's limits to the platform's plan; thresholds are looked at again. Raises `UnknownTenant`."""
        return apply_plan(self._database, tenant, plans=self._table)

    def _request(
        self,
        tenant: UUID | str,
        brand: UUID | str | None,
        amounts: Amounts,
        reason: str,
        ttl: timedelta,
        key: str | None,
    ) -> dict[str, Any]:
        amounts.require_any()
        return {
            **_owner(tenant, brand),
            **amounts.as_values(),
            "reason": label("reason", reason),
            "generated": reason == GENERATION,
            "ttl": lifetime(ttl),
            "key": None if key is None else label("key", key),
            "plans": self._plans,
        }

    def _settled(
        self,
        reservation: Reservation | UUID | str,
        amounts: Amounts,
        *,
        part: bool,
        connection: Connection[Row] | None = None,
    ) -> Settlement:
        values = _named(reservation) | amounts.as_values() | {"part": part, "plans": self._plans}
        row = (
            self._at_once("quota/settle", values)
            if connection is None
            else one(connection, "quota/settle", values)
        )  # fmt: skip
        if row["outcome"] == "exceeded":
            self._rejections.note(row["scope"], reservation=values["reservation_id"])
        if row["outcome"] not in ("settled", "replayed"):
            raise refuse(row, f"reservation {values['reservation_id']}", requested=row["excess"])
        replayed = row["outcome"] == "replayed"
        return Settlement(
            values["reservation_id"], row["reservation_state"], replayed, None if replayed else decision_of(row, 0)
        )

    def _at_once(self, name: str, values: Mapping[str, Any]) -> Row:
        # What was refused inside of other transactions; without any it costs nothing.
        self._rejections.write_when_due(self._database)
        with at_once(self._database) as connection:
            return one(connection, name, values)


def _owner(tenant: UUID | str, brand: UUID | str | None) -> dict[str, Any]:
    return {
        "tenant_id": identifier("tenant", tenant),
        "brand_id": None if brand is None else identifier("brand", brand),
    }


def _named(reservation: Reservation | UUID | str) -> dict[str, Any]:
    known = reservation.id if isinstance(reservation, Reservation) else identifier("reservation", reservation)
    return {"reservation_id": known}


def _reservation(values: Mapping[str, Any], row: Row) -> Reservation:
    if row["outcome"] not in ("reserved", "replayed"):
        asked = values["items"] if row["scope"] == "generation" else values["bytes"] + values["media_bytes"]
        subject = f"tenant {values['tenant_id']}" + (f", brand {values['brand_id']}" if values["brand_id"] else "")
        raise refuse(row, subject, requested=int(asked))
    return Reservation(
        id=row["reservation_id"],
        tenant_id=values["tenant_id"],
        brand_id=values["brand_id"],
        bytes=int(values["bytes"]),
        items=int(values["items"]),
        media_bytes=int(values["media_bytes"]),
        reason=values["reason"],
        key=values["key"],
        state=row["reservation_state"],
        expires_at=row["ends_at"],
        replayed=row["outcome"] == "replayed",
        decision=decision_of(row, 0),
    )


def _state(reservation: Reservation | UUID | str, row: Row) -> State:
    if row["outcome"] == "unknown":
        raise refuse(row, f"reservation {_named(reservation)['reservation_id']}")
    state: State = row["outcome"]
    return state
