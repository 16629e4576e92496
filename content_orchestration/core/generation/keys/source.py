"""The keys that calls are made with, remembered for seconds: a database read a call would be a thousand a minute."""

import threading
import time
from collections.abc import Callable
from uuid import UUID

from content_orchestration.core.generation.keys.model import ProviderKey
from content_orchestration.core.generation.keys.vault import KeyVault

REMEMBERED_SECONDS = 30.0
_MOST_REMEMBERED = 10_000


class KeySource:
    """The active keys of tenants. A key that was replaced is used for at most `remembered` seconds more.

    Whoever is refused with a remembered key asks `again` and goes on with the key that took its place.
    """

    def __init__(
        self,
        vault: KeyVault,
        *,
        remembered: float = REMEMBERED_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._vault, self._remembered, self._clock = vault, remembered, clock
        self._known: dict[tuple[UUID, str], tuple[float, ProviderKey | None]] = {}
        self._guard = threading.Lock()

    def active(self, tenant: UUID, provider: str) -> ProviderKey | None:
        """The tenant's key in use, or None where it brought none. Raises what the vault raises."""
        with self._guard:
            known = self._known.get((tenant, provider))
        if known is not None and self._clock() - known[0] < self._remembered:
            return known[1]
        return self.again(tenant, provider)

    def again(self, tenant: UUID, provider: str) -> ProviderKey | None:
        """The same, read from the vault now."""
        read_at = self._clock()
        key = self._vault.active(tenant, provider)
        with self._guard:
            if len(self._known) >= _MOST_REMEMBERED:
                self._known.clear()
            known = self._known.get((tenant, provider))
            # A read that began earlier and came back later may have seen the key that was replaced meanwhile.
            if known is None or known[0] <= read_at:
                self._known[(tenant, provider)] = (read_at, key)
        return key

    def forget(self) -> None:
        """Drop every remembered key."""
        with self._guard:
            self._known.clear()
