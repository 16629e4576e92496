"""The ledger as a model in Python, and a machine that does the same to both. For the stateful test of the ledger."""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, ClassVar
from uuid import UUID

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from content_orchestration.core.quota.decision import InvalidRequest, KeyReused, QuotaExceeded, ReservationEnded
from content_orchestration.core.quota.plans import plan_of
from content_orchestration.core.quota.reservation import GENERATION
from content_orchestration.core.quota.upkeep import apply_changed_plans
from content_orchestration.resources.postgres_client import PostgresClient
from content_orchestration_tests.quota_books import (
    SMALL,
    add_brand,
    add_tenant,
    expire,
    notices,
    run,
    set_plan,
    small_ledger,
)

BRAND_LIMIT = 700
LEVELS = (70, 85, 95, 100)
TTL = timedelta(hours=1)


@dataclass
class Held:
    """A reservation in the model."""

    id: UUID
    tenant: int
    brand: int | None
    bytes: int
    items: int
    generated: bool
    request: tuple[Any, ...]
    state: str = "reserved"
    expired: bool = False
    held: int = 0
    held_items: int = 0
    settled: tuple[int, int] = (0, 0)


@dataclass
class Account:
    """A limit with its counters in the model; `told` and `notices` are those of a tenant's thresholds."""

    limit: int | None
    used: int = 0
    reserved: int = 0
    told: int = 0
    notices: list[tuple[int, str | None]] = field(default_factory=list)

    def fits(self, more: int, freed: int = 0) -> bool:
        return self.limit is None or self.used + self.reserved - freed + more <= self.limit

    def look(self, rescaled: bool) -> None:
        """The thresholds, as the issue has them: once a crossing, armed again two points below."""
        limit = self.limit
        reached = max(
            (n for n in LEVELS if limit is not None and self.used and self.used * 100 >= n * limit), default=0
        )
        still = max(
            (n for n in LEVELS if limit is not None and n <= self.told and self.used * 100 > (n - 2) * limit), default=0
        )
        told = 0 if rescaled else still
        self.notices += [(n, "superseded" if n < reached else None) for n in LEVELS if told < n <= reached]
        self.told = max(told, reached)


class LedgerMachine(RuleBasedStateMachine):
    """Two tenants, a brand each, and everything that can be asked of the ledger."""

    database: ClassVar[PostgresClient]
    steps: ClassVar[int] = 0
    refusals: ClassVar[int] = 0

    @initialize()
    def begin(self) -> None:
        run(
            self.database,
            "; ".join(
                f"DELETE FROM {table}"
                for table in (
                    "brands", "tenants", "content_quota_usage", "storage_quotas", "quota_generation_usage",
                    "quota_reservations", "quota_notices",
                )
            ),
        )  # fmt: skip
        self.ledger = small_ledger(self.database)
        self.ids = [add_tenant(self.database, "free") for _ in range(2)]
        self.brand_ids = [add_brand(self.database, tenant, BRAND_LIMIT) for tenant in self.ids]
        self.plans: list[str | None] = ["free", "free"]
        self.tenants = [Account(1_000), Account(1_000)]
        self.brands = [Account(BRAND_LIMIT), Account(BRAND_LIMIT)]
        self.months = [Account(10), Account(10)]
        self.reservations: list[Held] = []
        self.keys: dict[tuple[int, str], Held] = {}
        for tenant in self.ids:
            self.ledger.apply_plan(tenant)

    # --- the model ---

    def apply_plan(self, tenant: int) -> None:
        plan = plan_of(self.plans[tenant], SMALL)
        self.months[tenant].limit = plan.items_a_month
        self.take_plan(tenant)

    def take_plan(self, tenant: int) -> None:
        """What any write to the tenant's row does with its limit."""
        account, limit = self.tenants[tenant], plan_of(self.plans[tenant], SMALL).limit_bytes
        if account.limit != limit:
            account.limit = limit
            account.look(rescaled=True)

    def scopes(self, held: Held) -> list[tuple[str, Account, int]]:
        """What a reservation counts in, with what it holds there, in the order in which it is asked."""
        found = [("generation", self.months[held.tenant], held.held_items)] if held.generated else []
        if held.brand is not None:
            found.append(("brand", self.brands[held.brand], held.held))
        return [*found, ("tenant", self.tenants[held.tenant], held.held)]

    def lacking(self, tenant: int, wanted: list[tuple[str, Account, int, int]], *, promised: bool) -> str | None:
        """The scope without room, by the limits of the platform's plan of this moment; None where all have some.

        What was promised by a reservation is granted even where a plan was lowered since.
        """
        plan = plan_of(self.plans[tenant], SMALL)
        for scope, account, more, freed in wanted:
            limit = {"tenant": plan.limit_bytes, "generation": plan.items_a_month, "brand": account.limit}[scope]
            if not (promised and more <= freed) and not Account(limit, account.used, account.reserved).fits(
                more, freed
            ):
                return scope
        return None

    def free(self, held: Held) -> None:
        for scope, account, of in self.scopes(held):
            account.reserved -= of
            assert account.reserved >= 0, scope
        held.held = held.held_items = 0

    def reap(self, tenant: int | None) -> int:
        dead = [
            held
            for held in self.reservations
            if held.state == "reserved" and held.expired and tenant in (None, held.tenant)
        ]
        for held in dead:
            self.free(held)
            held.state = "expired"
        return len(dead)

    # --- what is done to both ---

    @rule(
        tenant=st.integers(0, 1), branded=st.booleans(), size=st.sampled_from([0, 1, 50, 150, 300, 700, 1_000, 1_001]),
        items=st.integers(0, 6), media=st.sampled_from([0, 0, 20]), generated=st.booleans(),
        key=st.sampled_from([None, None, "a", "b"]),
    )  # fmt: skip
    def reserve(
        self, tenant: int, branded: bool, size: int, items: int, media: int, generated: bool, key: str | None
    ) -> None:
        if not (size or items or media):
            return
        type(self).steps += 1
        reason = GENERATION if generated else "upload"
        request = (self.brand_ids[tenant] if branded else None, size, items, media, reason)

        def ask() -> Any:
            return self.ledger.reserve(self.ids[tenant], *request, TTL, key)

        known = self.keys.get((tenant, key)) if key else None
        if known is not None:
            if known.request != request:
                with_error(ask, KeyReused)
                return
            again = ask()
            assert (again.id, again.replayed, again.state) == (known.id, True, known.state)
            return
        held = Held(
            UUID(int=0), tenant, tenant if branded else None, size + media, items, generated and items > 0, request
        )

        def lacks() -> str | None:
            accounts = [(scope, account) for scope, account, _ in self.scopes(held)]
            wanted = [
                (scope, account, items if scope == "generation" else held.bytes, 0) for scope, account in accounts
            ]
            return self.lacking(tenant, wanted, promised=False)

        missing = lacks()
        if missing:
            self.take_plan(tenant)
            if self.reap(tenant):
                missing = lacks()
        if missing:
            type(self).refusals += 1
            refusal = with_error(ask, QuotaExceeded)
            assert isinstance(refusal, QuotaExceeded)
            assert refusal.scope == missing
            return
        made = ask()
        assert (made.state, made.replayed) == ("reserved", False)
        held.id, held.held, held.held_items = made.id, held.bytes, items
        self.take_plan(tenant)
        if held.generated:
            self.months[tenant].limit = plan_of(self.plans[tenant], SMALL).items_a_month
        for scope, account, _ in self.scopes(held):
            account.reserved += items if scope == "generation" else held.bytes
        self.reservations.append(held)
        if key:
            self.keys[tenant, key] = held

    @rule(
        which=st.integers(0, 50), share=st.sampled_from([0, 0.5, 1, 1, 1.5, 4]),
        more_items=st.sampled_from([-1, 0, 0, 5]), part=st.booleans(),
    )  # fmt: skip
    def settle(self, which: int, share: float, more_items: int, part: bool) -> None:
        if not self.reservations:
            return
        type(self).steps += 1
        held = self.reservations[which % len(self.reservations)]
        size, items = int(held.bytes * share), max(0, held.items + more_items)

        def ask() -> Any:
            if not part:
                return self.ledger.settle(held.id, size, items)
            with self.database.connection() as connection:
                return self.ledger.settle_part_in(connection, held.id, size, items)

        if held.state == "released" or (held.state == "settled" and part):
            with_error(ask, ReservationEnded)
            return
        if held.state == "settled":
            if held.settled == (size, items):
                assert ask().replayed
            else:
                with_error(ask, ReservationEnded)
            return
        more, more_of_items = (size, items) if part else (size - held.settled[0], items - held.settled[1])
        if more < 0 or more_of_items < 0:
            with_error(ask, InvalidRequest)
            return
        freed = min(held.held, more) if part else held.held
        freed_items = min(held.held_items, more_of_items) if part else held.held_items
        amounts = {"generation": (more_of_items, freed_items), "brand": (more, freed), "tenant": (more, freed)}
        missing = self.lacking(held.tenant, [(s, a, *amounts[s]) for s, a, _ in self.scopes(held)], promised=True)
        if missing:
            type(self).refusals += 1
            refusal = with_error(ask, QuotaExceeded)
            assert isinstance(refusal, QuotaExceeded)
            assert refusal.scope == missing
            return
        settled = ask()
        for scope, account, _ in self.scopes(held):
            gained, lost = amounts[scope]
            account.reserved -= lost
            account.used += gained
        held.held, held.held_items = held.held - freed, held.held_items - freed_items
        held.settled = (held.settled[0] + more, held.settled[1] + more_of_items)
        held.state = held.state if part else "settled"
        assert settled.state == held.state
        # One UPDATE brings the new use and the limit: the thresholds are looked at once.
        account, limit = self.tenants[held.tenant], plan_of(self.plans[held.tenant], SMALL).limit_bytes
        rescaled, account.limit = account.limit != limit, limit
        if rescaled or more:
            account.look(rescaled)

    @rule(which=st.integers(0, 50))
    def release(self, which: int) -> None:
        if not self.reservations:
            return
        type(self).steps += 1
        held = self.reservations[which % len(self.reservations)]
        if held.state == "reserved":
            self.free(held)
            held.state = "settled" if any(held.settled) else "released"
        assert self.ledger.release(held.id) == held.state

    @rule(which=st.integers(0, 50))
    def let_expire(self, which: int) -> None:
        if self.reservations:
            held = self.reservations[which % len(self.reservations)]
            held.expired = True
            expire(self.database, held.id)

    @rule(which=st.integers(0, 50))
    def renew(self, which: int) -> None:
        if self.reservations:
            held = self.reservations[which % len(self.reservations)]
            held.expired = held.expired and held.state != "reserved"
            assert self.ledger.renew(held.id, TTL) == held.state

    @rule(tenant=st.sampled_from([None, 0, 1]))
    def reaped(self, tenant: int | None) -> None:
        expected = self.reap(tenant)
        assert self.ledger.reap(None if tenant is None else self.ids[tenant]).reservations == expected

    @rule(tenant=st.integers(0, 1), branded=st.booleans(), size=st.sampled_from([1, 30, 200, 5_000]))
    def give_back(self, tenant: int, branded: bool, size: int) -> None:
        with self.database.connection() as connection:
            self.ledger.give_back_in(connection, self.ids[tenant], self.brand_ids[tenant] if branded else None, size)
        if branded:
            self.brands[tenant].used = max(0, self.brands[tenant].used - size)
        account = self.tenants[tenant]
        before, account.used = account.used, max(0, account.used - size)
        if account.used != before:
            account.look(rescaled=False)

    @rule(tenant=st.integers(0, 1), plan=st.sampled_from(["free", "starter", "enterprise", None]), tell=st.booleans())
    def change_plan(self, tenant: int, plan: str | None, tell: bool) -> None:
        set_plan(self.database, self.ids[tenant], plan)
        self.plans[tenant] = plan
        if tell:
            self.ledger.apply_plan(self.ids[tenant])
            self.apply_plan(tenant)

    @rule()
    def find_changed_plans(self) -> None:
        behind = [n for n in range(2) if self.tenants[n].limit != plan_of(self.plans[n], SMALL).limit_bytes]
        assert {each.tenant_id for each in apply_changed_plans(self.database, plans=SMALL)} == {
            self.ids[n] for n in behind
        }
        for tenant in behind:
            self.apply_plan(tenant)

    # --- what must be the same ---

    @invariant()
    def counters_agree(self) -> None:
        rows = {
            row["tenant_id"]: row
            for row in run(
                self.database,
                "SELECT u.*, coalesce(g.used_items, 0) AS used_items, coalesce(g.reserved_items, 0) AS reserved_items "
                "FROM content_quota_usage u LEFT JOIN quota_generation_usage g USING (tenant_id)",
            )
        }
        brands = {row["brand_id"]: row for row in run(self.database, "SELECT * FROM storage_quotas")}
        for number, tenant in enumerate(getattr(self, "ids", [])):
            row, account, month = rows[tenant], self.tenants[number], self.months[number]
            assert (row["used_bytes"], row["reserved_bytes"]) == (account.used, account.reserved)
            assert (row["limit_bytes"], row["notified_percent"]) == (account.limit, account.told)
            assert (row["used_items"], row["reserved_items"]) == (month.used, month.reserved)
            brand = brands[self.brand_ids[number]]
            assert (brand["used_bytes"], brand["reserved_bytes"]) == (
                self.brands[number].used, self.brands[number].reserved,
            )  # fmt: skip
            assert [
                (level, suppressed) for level, _, suppressed, _ in notices(self.database, tenant)
            ] == account.notices
            if self.brands[number].used + self.brands[number].reserved > BRAND_LIMIT:
                raise AssertionError("a brand is over its limit")


def with_error(ask: Any, kind: type[Exception]) -> Exception:
    try:
        answer = ask()
    except kind as error:
        return error
    raise AssertionError(f"{answer} came, not {kind.__name__}")
