"""Providers of texts as a Dagster resource: which ones, in what order, with whose key. The calls are in `llm_*.py`."""

import threading
from functools import partial
from uuid import UUID

import dagster as dg
from pydantic import PrivateAttr, SecretStr

from content_orchestration.core.errors import Permanent
from content_orchestration.core.generation.fallback import Link, ProviderChain
from content_orchestration.core.generation.keys.master import EnvironmentMasterKey, MasterKey
from content_orchestration.core.generation.keys.source import KeySource
from content_orchestration.core.generation.keys.vault import KeyVault, has_active
from content_orchestration.core.generation.model import FailureCategory
from content_orchestration.core.generation.provider import ProviderFailure
from content_orchestration.core.generation.rate_limit import RateLimiter
from content_orchestration.core.generation.template import NAME as TEMPLATE
from content_orchestration.core.generation.template import TemplateProvider
from content_orchestration.resources.llm_engine import LlmEngine
from content_orchestration.resources.llm_prices import ModelPrice, prices_given
from content_orchestration.resources.llm_probe import probe
from content_orchestration.resources.llm_provider import HeldKey, KeyOf, LlmProvider
from content_orchestration.resources.postgres import PostgresResource
from content_orchestration.settings import Settings, get_settings


class LlmResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """The chain of providers of each tenant.

    Keys are read from the settings and from the vault when a chain is made and when it calls; none is a field, since
    Dagster shows fields to everyone who opens the UI. In production `master_key` is overridden by a KMS.
    """

    postgres: dg.ResourceDependency[PostgresResource]
    _guard: threading.Lock = PrivateAttr(default_factory=threading.Lock)
    _engine: LlmEngine | None = PrivateAttr(default=None)
    _keys: KeySource | None = PrivateAttr(default=None)
    _limiters: dict[tuple[str, UUID | None], RateLimiter] = PrivateAttr(default_factory=dict)
    _prices: dict[tuple[str, str], ModelPrice] = PrivateAttr(default_factory=dict)

    def master_key(self) -> MasterKey | None:
        """The master key of the vault, None where none is set. Override it to bind a key management service."""
        text = get_settings().provider_master_key.get_secret_value()
        return EnvironmentMasterKey.parse(text) if text else None

    def required_master_key(self) -> MasterKey:
        """The master key. Raises `Permanent` where none is set."""
        master = self.master_key()
        if master is None:
            raise Permanent(
                "PROVIDER_MASTER_KEY is empty: tenants cannot bring keys. Set id:base64 of 32 random bytes, for "
                "example k1:$(openssl rand -base64 32), and keep it outside of the database's backups"
            )
        return master

    def vault(self) -> KeyVault:
        """The vault of the tenants' keys. Raises `Permanent` where no master key is set."""
        return KeyVault(self.postgres.client(), self.required_master_key())

    def bring_key(self, tenant_id: UUID, provider: str, secret: SecretStr, created_by: str) -> int:
        """Seal a tenant's key, ask its provider, and put it in use; returns its version. No call fails meanwhile.

        Raises `KeyRefused`, after which the old key is still in use, and `Transient` where nobody could be asked.
        """
        engine = self._clients(get_settings())
        version = self.vault().bring(tenant_id, provider, secret, created_by, partial(probe, engine))
        source = self._source()
        if source is not None:
            source.again(tenant_id, provider)
        return version

    def check(self) -> None:
        """Raise `Permanent` where GENERATION_PROVIDERS names a model whose cost is not known. Calls nobody."""
        settings = get_settings()
        for name, model in settings.generation_chain:
            if name != TEMPLATE:
                self._price(settings, name, model)

    def chain(self, tenant_id: UUID) -> ProviderChain:
        """The providers of a tenant, in the order of GENERATION_PROVIDERS, each with the tenant's own key or ours.

        A provider without either is left out. Raises `Permanent` where none is left, where a model's cost is not known
        and where a key of the tenant cannot be opened: its texts then go to no other account.
        """
        settings = get_settings()
        links = []
        for name, model in settings.generation_chain:
            if name == TEMPLATE:
                links.append(Link(TemplateProvider()))
                continue
            price = self._price(settings, name, model)
            own = self._tenant_key(tenant_id, name) is not None
            if not own and not settings.provider_key(name).get_secret_value():
                continue
            key: KeyOf = partial(self._own_key, tenant_id, name) if own else partial(_platform_key, settings, name)
            limiter = self._limiter(settings, name, tenant_id if own else None)
            provider = LlmProvider(name, model, engine=self._clients(settings), key=key, limiter=limiter, price=price)
            links.append(Link(provider, limiter))
        return ProviderChain(links, long_patience=settings.generation_rate_patience)

    def close(self) -> None:
        """Close connections and forget keys. Dagster does it after a run; outside of one, whoever uses it does."""
        with self._guard:
            engine, self._engine, self._keys = self._engine, None, None
        if engine is not None:
            engine.close()

    def teardown_after_execution(self, context: dg.InitResourceContext) -> None:
        """Close the clients at the end of the run."""
        self.close()

    def _clients(self, settings: Settings) -> LlmEngine:
        with self._guard:
            if self._engine is None:
                self._engine = LlmEngine(
                    {"openai": settings.openai_base_url, "anthropic": settings.anthropic_base_url},
                    silence=settings.generation_timeout,
                    max_tokens=settings.generation_answer_limit,
                )
            return self._engine

    def _source(self) -> KeySource | None:
        with self._guard:
            if self._keys is None and (master := self.master_key()) is not None:
                self._keys = KeySource(KeyVault(self.postgres.client(), master))
            return self._keys

    def _tenant_key(self, tenant: UUID, provider: str) -> HeldKey | None:
        source = self._source()
        if source is not None:
            key = source.active(tenant, provider)
            return None if key is None else HeldKey(key.secret, key.version, own=True)
        if has_active(self.postgres.client(), tenant, provider):
            raise Permanent(
                f"tenant {tenant} brought a key for {provider}, and PROVIDER_MASTER_KEY, which opens it, is empty: set "
                "it again. The platform's key is not used in its place"
            )
        return None

    def _own_key(self, tenant: UUID, provider: str, again: bool) -> HeldKey:
        source = self._source()
        if source is not None and again:
            source.again(tenant, provider)
        held = self._tenant_key(tenant, provider)
        if held is None:
            raise ProviderFailure(
                FailureCategory.invalid_request,
                f"the {provider} key of tenant {tenant} was taken out of use: bring another, or start the batch "
                "again to go by the platform's key",
                provider=provider,
            )
        return held

    def _limiter(self, settings: Settings, provider: str, tenant: UUID | None) -> RateLimiter:
        with self._guard:
            if (provider, tenant) not in self._limiters:
                self._limiters[provider, tenant] = RateLimiter(
                    provider, settings.generation_requests_per_minute or None
                )
            return self._limiters[provider, tenant]

    def _price(self, settings: Settings, provider: str, model: str) -> ModelPrice:
        if (provider, model) not in self._prices:
            given = prices_given(settings.generation_prices).get(model)
            self._prices[provider, model] = ModelPrice(provider, model, given)
        return self._prices[provider, model]


def _platform_key(settings: Settings, provider: str, again: bool) -> HeldKey:
    return HeldKey(settings.provider_key(provider))
