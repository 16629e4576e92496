"""The resource that makes each tenant's chain: order, keys, prices, rotation while it calls; and the command."""

import base64
import io
import json
import logging
import secrets
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.sql import SQL, Identifier
from pydantic import SecretStr, ValidationError

from content_orchestration.core.errors import Permanent
from content_orchestration.core.generation.keys.master import MasterKey
from content_orchestration.core.generation.keys.model import KeyRefused
from content_orchestration.core.generation.provider import ProviderFailure
from content_orchestration.core.generation.request import GenerationRequest
from content_orchestration.resources import llm_keys
from content_orchestration.resources.llm import LlmResource
from content_orchestration.resources.postgres import PostgresResource
from content_orchestration.settings import Settings, get_settings
from content_orchestration_tests.llm_server import LlmServer, serving

MASTER = "k1:" + base64.b64encode(secrets.token_bytes(32)).decode()
NEXT_MASTER = "k2:" + base64.b64encode(secrets.token_bytes(32)).decode()
PLATFORM = "sk-platform-canary"
CHAIN = "openai:gpt-4.1-mini anthropic:claude-haiku-4-5 template"
Configure = Callable[..., LlmResource]


@pytest.fixture
def server() -> Iterator[LlmServer]:
    with serving() as running:
        yield running


@pytest.fixture
def configured(database_url: str, server: LlmServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Configure]:
    """A resource under variables of a test's own; everything that it opened is closed."""
    made: list[LlmResource] = []

    def configure(**variables: str) -> LlmResource:
        environment = {
            "DATABASE_PUBLIC_URL": database_url, "OPENAI_BASE_URL": server.base_url("openai"),
            "ANTHROPIC_BASE_URL": server.base_url("anthropic"), "GENERATION_PROVIDERS": CHAIN,
            "OPENAI_API_KEY": PLATFORM, "ANTHROPIC_API_KEY": "", "PROVIDER_MASTER_KEY": MASTER,
        }  # fmt: skip
        for name, value in (environment | variables).items():
            monkeypatch.setenv(name, value)
        get_settings.cache_clear()
        made.append(LlmResource(postgres=PostgresResource()))
        return made[-1]

    yield configure
    for llm in made:
        llm.close()
        llm.postgres.close()
    monkeypatch.undo()
    get_settings.cache_clear()


def names(llm: LlmResource, tenant: UUID) -> list[str]:
    return [f"{provider.name}:{provider.model}" for provider in llm.chain(tenant).providers]


def asked(tenant: UUID) -> GenerationRequest:
    return GenerationRequest.of(tenant, "post", {"topic": "Restore drills"})


def test_the_default_needs_no_key_and_calls_nobody(configured: Configure, server: LlmServer) -> None:
    llm = configured(GENERATION_PROVIDERS="template", OPENAI_API_KEY="", PROVIDER_MASTER_KEY="")
    llm.check()
    reply = llm.chain(uuid4()).generate(asked(uuid4()), timeout=10)
    assert (reply.provider, reply.model) == ("template", "template-1")
    assert server.calls == []


def test_a_chain_has_the_providers_with_a_key_in_their_order(configured: Configure, server: LlmServer) -> None:
    llm = configured()
    mine, theirs = uuid4(), uuid4()
    assert names(llm, mine) == ["openai:gpt-4.1-mini", "template:template-1"]
    assert llm.bring_key(mine, "anthropic", SecretStr("sk-mine"), "ann") == 1
    assert names(llm, mine) == ["openai:gpt-4.1-mini", "anthropic:claude-haiku-4-5", "template:template-1"]
    assert names(llm, theirs) == ["openai:gpt-4.1-mini", "template:template-1"]
    llm.bring_key(mine, "openai", SecretStr("sk-mine-too"), "ann")
    server.calls.clear()
    llm.chain(mine).generate(asked(mine), timeout=60)
    llm.chain(theirs).generate(asked(theirs), timeout=60)
    assert server.sent_keys() == ["sk-mine-too", PLATFORM]
    with pytest.raises(Permanent, match="no provider is left for this tenant"):
        configured(GENERATION_PROVIDERS="anthropic:claude-haiku-4-5").chain(theirs)


def test_a_limit_of_one_key_is_no_limit_of_another(configured: Configure, server: LlmServer) -> None:
    llm = configured(GENERATION_PROVIDERS="openai:gpt-4.1-mini", GENERATION_RATE_PATIENCE="0")
    mine, theirs = uuid4(), uuid4()
    llm.bring_key(mine, "openai", SecretStr("sk-mine"), "ann")
    server.script.append({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "6m0s"})
    assert llm.chain(mine).generate(asked(mine), timeout=60).provider == "openai"
    with pytest.raises(ProviderFailure, match="at its rate limit"):
        llm.chain(mine).generate(asked(mine), timeout=60)
    assert llm.chain(theirs).generate(asked(theirs), timeout=60).provider == "openai"
    server.script.append({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "6m0s"})
    llm.chain(theirs).generate(asked(theirs), timeout=60)
    with pytest.raises(ProviderFailure, match="at its rate limit"):
        llm.chain(uuid4()).generate(asked(uuid4()), timeout=60)


def test_calls_a_minute_can_be_set(configured: Configure) -> None:
    llm = configured(
        GENERATION_PROVIDERS="openai:gpt-4.1-mini", GENERATION_REQUESTS_PER_MINUTE="1", GENERATION_RATE_PATIENCE="0"
    )
    llm.chain(uuid4()).generate(asked(uuid4()), timeout=60)
    with pytest.raises(ProviderFailure, match="at its rate limit"):
        llm.chain(uuid4()).generate(asked(uuid4()), timeout=60)


def test_a_model_without_a_price_is_refused_before_anything_is_called(configured: Configure, server: LlmServer) -> None:
    llm = configured(GENERATION_PROVIDERS="openai:house-model")
    for refuses in (llm.check, lambda: llm.chain(uuid4())):
        with pytest.raises(Permanent, match="the cost of openai:house-model is not known"):
            refuses()
    llm = configured(GENERATION_PROVIDERS="openai:house-model", GENERATION_PRICES="house-model=1000/0")
    llm.check()
    usage = llm.chain(uuid4()).generate(asked(uuid4()), timeout=60).usage
    assert str(usage.cost_usd) == "0.32100000"
    assert len(server.calls) == 1


def test_a_refused_key_does_not_replace_the_one_in_use(configured: Configure, server: LlmServer) -> None:
    llm, tenant = configured(), uuid4()
    llm.bring_key(tenant, "openai", SecretStr("sk-good"), "ann")
    server.keys = {"sk-good"}
    with pytest.raises(KeyRefused, match="it was not put in use"):
        llm.bring_key(tenant, "openai", SecretStr("sk-typo"), "ann")
    llm.chain(tenant).generate(asked(tenant), timeout=60)
    assert server.sent_keys()[-1] == "sk-good"


def test_no_call_fails_while_a_tenant_changes_its_key(configured: Configure, server: LlmServer) -> None:
    """Ten threads call without a pause. The tenant brings a new key and deletes the old one at the provider at once."""
    llm, tenant = configured(GENERATION_PROVIDERS="openai:gpt-4.1-mini", OPENAI_API_KEY=""), uuid4()
    server.keys = {"sk-0"}
    llm.bring_key(tenant, "openai", SecretStr("sk-0"), "ann")
    chain = llm.chain(tenant)
    elsewhere = configured(GENERATION_PROVIDERS="openai:gpt-4.1-mini", OPENAI_API_KEY="")
    done = threading.Event()

    def work(_: int) -> int:
        calls = 0
        while not done.is_set():
            chain.generate(asked(tenant), timeout=60)
            calls += 1
        return calls

    with ThreadPoolExecutor(10) as pool:
        running = [pool.submit(work, number) for number in range(10)]
        try:
            for turn in range(1, 5):
                # Another process brings the key, so nothing tells this one that its remembered key is old.
                server.keys = {f"sk-{turn - 1}", f"sk-{turn}"}
                elsewhere.bring_key(tenant, "openai", SecretStr(f"sk-{turn}"), "ann")
                server.keys = {f"sk-{turn}"}
                seen = len(server.calls)
                threading.Event().wait(0.05)
                while len(server.calls) < seen + 20 and not any(future.done() for future in running):
                    threading.Event().wait(0.01)
        finally:
            done.set()
        assert sum(future.result(60) for future in running) >= 40
    assert {f"sk-{turn}" for turn in range(5)} <= set(server.sent_keys())


def test_a_key_that_is_taken_away_fails_its_calls_and_never_falls_to_the_platform(
    configured: Configure, server: LlmServer
) -> None:
    llm, tenant = configured(GENERATION_PROVIDERS="openai:gpt-4.1-mini"), uuid4()
    llm.bring_key(tenant, "openai", SecretStr("sk-mine"), "ann")
    chain = llm.chain(tenant)
    llm.vault().revoke(tenant, "openai", 1)
    server.keys = {PLATFORM}
    server.calls.clear()
    with pytest.raises(ProviderFailure, match=f"openai key of tenant {tenant} was taken out of use") as caught:
        chain.generate(asked(tenant), timeout=60)
    assert caught.value.permanent
    assert server.sent_keys() == ["sk-mine"]


def test_without_its_master_key_a_tenants_text_goes_to_nobody_elses_account(
    configured: Configure, server: LlmServer
) -> None:
    tenant = uuid4()
    configured().bring_key(tenant, "openai", SecretStr("sk-mine"), "ann")
    with pytest.raises(Permanent, match="PROVIDER_MASTER_KEY, which opens it, is empty"):
        configured(PROVIDER_MASTER_KEY="").chain(tenant)
    with pytest.raises(Permanent, match="holds only k2"):
        configured(PROVIDER_MASTER_KEY=NEXT_MASTER).chain(tenant)
    assert names(configured(PROVIDER_MASTER_KEY=""), uuid4()) == ["openai:gpt-4.1-mini", "template:template-1"]
    with pytest.raises(Permanent, match="tenants cannot bring keys"):
        configured(PROVIDER_MASTER_KEY="").vault()


def test_production_binds_a_key_management_service_in_one_place(configured: Configure) -> None:
    class Kms:
        """Stands for a service: it keeps the data keys to itself and gives tickets for them."""

        current_id = "kms/1"
        kept: dict[bytes, tuple[bytes, bytes]] = {}  # noqa: RUF012  (one service)

        def wrap(self, data_key: bytes, bound: bytes) -> bytes:
            ticket = secrets.token_bytes(8)
            self.kept[ticket] = (data_key, bound)
            return ticket

        def unwrap(self, key_id: str, wrapped: bytes, bound: bytes) -> bytes:
            data_key, kept_bound = self.kept[wrapped]
            assert (key_id, kept_bound) == ("kms/1", bound)
            return data_key

    class WithKms(LlmResource):
        def master_key(self) -> MasterKey | None:
            return Kms()

    configured(PROVIDER_MASTER_KEY="")
    llm, tenant = WithKms(postgres=PostgresResource()), uuid4()
    try:
        llm.bring_key(tenant, "openai", SecretStr("sk-mine"), "ann")
        assert llm.chain(tenant).generate(asked(tenant), timeout=60).provider == "openai"
    finally:
        llm.close()
        llm.postgres.close()


def command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], typed: str, *arguments: str
) -> tuple[int, str, str]:
    monkeypatch.setattr("sys.stdin", io.StringIO(typed))
    code = llm_keys.main(arguments)
    out, err = capsys.readouterr()
    return code, out, err


def test_people_handle_keys_by_a_command_that_never_shows_one(
    configured: Configure,
    server: LlmServer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    configured()
    tenant = str(uuid4())
    of = ("--tenant", tenant)
    openai = (*of, "--provider", "openai")

    def run(*arguments: str, typed: str = "") -> tuple[int, str, str]:
        return command(monkeypatch, capsys, typed, *arguments)

    for version, typed in ((1, "sk-canary-1\n"), (2, " sk-canary-2")):
        code, out, err = run("bring", *openai, "--by", "ann", typed=typed)
        assert (code, json.loads(out)["version"], err) == (0, version, "")
    server.keys = set()
    code, out, err = run("bring", *openai, "--by", "ann", typed="sk-canary-3")
    assert (code, out) == (1, "")
    assert "openai does not take this key (status 401)" in err
    assert "canary" not in err
    assert json.loads(run("activate", *openai, "--version", "1")[1])["state"] == "active"
    assert json.loads(run("revoke", *openai, "--version", "2")[1])["state"] == "revoked"
    assert run("revoke", *openai, "--version", "2")[0] == 1
    states = json.loads(run("list", *of)[1])["keys"]
    assert [(state["version"], state["state"]) for state in states] == [(1, "active"), (2, "revoked"), (3, "revoked")]
    assert json.loads(run("rotate-data-key", *of)[1])["keys_sealed_anew"] == 1
    configured(PROVIDER_MASTER_KEY=f"{NEXT_MASTER} {MASTER}")
    assert json.loads(run("rewrap")[1]) | {"rewrapped": 0, "waiting": 1, "applied": False} == json.loads(
        run("rewrap")[1]
    )
    assert json.loads(run("rewrap", "--apply", "--most", "5")[1])["waiting"] == 0
    configured(PROVIDER_MASTER_KEY=NEXT_MASTER)
    assert run("erase", *of)[0] == 1
    assert json.loads(run("erase", *of, "--confirm", f"erase {tenant}")[1])["erased"] == 3
    assert json.loads(run("list", *of)[1])["keys"] == []
    assert "canary" not in caplog.text


def test_a_whole_life_of_a_key_leaves_no_trace_of_it(
    configured: Configure, server: LlmServer, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    canary = "sk-" + secrets.token_hex(24)
    llm, tenant = configured(OPENAI_API_KEY=canary + "p", ANTHROPIC_API_KEY=canary + "q"), uuid4()
    llm.bring_key(tenant, "openai", SecretStr(canary), "ann")
    said = [repr(llm), str(llm), llm.model_dump_json(), repr(vars(llm)), repr(llm.chain(tenant).__dict__)]
    said += [repr(get_settings()), str(get_settings()), get_settings().model_dump_json()]
    said.append(repr(llm.chain(tenant).generate(asked(tenant), timeout=60)))
    server.keys = set()
    said.append(repr(llm.chain(tenant).generate(asked(tenant), timeout=60)))
    assert canary in server.sent_keys()
    with psycopg.connect(database_url) as connection:
        tables = connection.execute(
            "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace"
        ).fetchall()
        for (table,) in tables:
            said.append(str(connection.execute(SQL("SELECT t::text FROM {} t").format(Identifier(table))).fetchall()))
    for text in (*said, caplog.text):
        assert canary not in text
        assert MASTER.partition(":")[2] not in text


@pytest.mark.parametrize(
    "variables",
    [
        {"GENERATION_PROVIDERS": "openai"},
        {"GENERATION_PROVIDERS": "litellm:gpt"},
        {"GENERATION_PROVIDERS": "openai:a,template"},
        {"GENERATION_PROVIDERS": "template "},
        {"GENERATION_PRICES": "a=1"},
        {"GENERATION_PRICES": "a=1/2,b=1/2"},
        {"OPENAI_BASE_URL": "api.openai.com"},
        {"GENERATION_TIMEOUT": "0"},
        {"GENERATION_ANSWER_LIMIT": "1"},
    ],
)
def test_bad_settings_are_refused_at_once(variables: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValidationError, match=next(iter(variables))):
        Settings()


def test_the_resource_imports_none_of_the_libraries() -> None:
    """They take seconds, and definitions are loaded by every process."""
    code = (
        "import sys, content_orchestration.resources.llm\n"
        "heavy = {'pydantic_ai', 'openai', 'anthropic', 'genai_prices', 'httpx2'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (found.returncode, found.stderr) == (0, "")
