"""The real openai and anthropic clients against a local server that speaks their protocols, faults included."""

import logging
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from uuid import uuid4

import pytest
from pydantic import SecretStr

from content_orchestration.core.errors import Permanent, Transient
from content_orchestration.core.generation.fallback import Link, ProviderChain
from content_orchestration.core.generation.keys.model import KeyRefused, ProviderKey
from content_orchestration.core.generation.model import FailureCategory
from content_orchestration.core.generation.provider import ProviderFailure, Stopped, Usage
from content_orchestration.core.generation.rate_limit import RateLimiter
from content_orchestration.core.generation.request import GenerationRequest
from content_orchestration.core.generation.template import TemplateProvider
from content_orchestration.resources.llm_engine import BASE_URLS, LlmEngine
from content_orchestration.resources.llm_failures import KeyNotAccepted
from content_orchestration.resources.llm_prices import ModelPrice, Price, Tokens, prices_given
from content_orchestration.resources.llm_probe import probe
from content_orchestration.resources.llm_provider import HeldKey, LlmProvider
from content_orchestration_tests.llm_server import DRAFT, INPUT_TOKENS, OUTPUT_TOKENS, Fault, LlmServer, serving

CANARY = "sk-canary-0123456789abcdefCANARY"
MODELS = {"openai": "gpt-4.1-mini", "anthropic": "claude-haiku-4-5"}
REQUEST = GenerationRequest.of(
    uuid4(),
    "article",
    {"topic": "Restore drills", "keywords": ["restore drills", "backups"], "instructions": "Be brief."},
)
PRICE = Price(Decimal(1), Decimal(10))
BILLED = Usage(INPUT_TOKENS, OUTPUT_TOKENS, Decimal("0.006861"))
NOTHING = Usage()


@pytest.fixture(scope="module")
def running() -> Iterator[LlmServer]:
    with serving() as server:
        yield server


@pytest.fixture
def server(running: LlmServer) -> LlmServer:
    running.calls.clear()
    running.script.clear()
    running.keys, running.delay, running.most_at_once = None, 0.0, 0
    return running


@pytest.fixture(scope="module")
def engine(running: LlmServer) -> Iterator[LlmEngine]:
    made = LlmEngine(
        {"openai": running.base_url("openai"), "anthropic": running.base_url("anthropic")}, silence=60, max_tokens=4000
    )
    yield made
    made.close()


def provider(
    engine: LlmEngine, name: str, key: HeldKey | None = None, limiter: RateLimiter | None = None
) -> LlmProvider:
    held = key or HeldKey(SecretStr(CANARY))
    return LlmProvider(
        name, MODELS[name], engine=engine, key=lambda again: held, limiter=limiter or RateLimiter(name),
        price=ModelPrice(name, MODELS[name], PRICE),
    )  # fmt: skip


both = pytest.mark.parametrize("name", list(MODELS))


@both
def test_a_text_comes_back_typed_counted_and_priced(server: LlmServer, engine: LlmEngine, name: str) -> None:
    reply = provider(engine, name).generate(REQUEST, timeout=60)
    assert (reply.provider, reply.model) == (name, MODELS[name])
    assert (reply.generated.title, reply.generated.tags) == (DRAFT["title"], DRAFT["tags"])
    assert reply.generated.body == str(DRAFT["body"]).strip()
    assert (reply.generated.word_count, reply.generated.seo_score) == (128, 94)
    assert reply.usage == BILLED
    path, headers, sent = server.calls[0]
    assert len(server.calls) == 1
    assert server.sent_keys() == [CANARY]
    assert path == ("/v1/messages" if name == "anthropic" else "/v1/chat/completions")
    assert {"authorization", "x-api-key"} & headers.keys() == {"x-api-key" if name == "anthropic" else "authorization"}
    assert sent.get("max_tokens", sent.get("max_completion_tokens")) == 4000
    assert sent["stream"] is False
    written = str(sent["messages"])
    for asked in ("article of 800 words", "Language: en", "restore drills, backups", "Be brief."):
        assert asked in written
    assert "Invent no numbers" in str(sent)


STATUSES = [
    (Fault(429, {"retry-after": "7"}, "rate_limit_error"), "rate_limit", 7, NOTHING, "rate limit"),
    (Fault(429, {}, "rate_limit_error"), "rate_limit", 1, NOTHING, "rate limit"),
    (Fault(500), "provider", None, NOTHING, "status 500"),
    (Fault(502), "provider", None, NOTHING, "status 502"),
    (Fault(503, {"retry-after": "3"}), "provider", 3, NOTHING, "status 503"),
    (Fault(529, {}, "overloaded_error"), "provider", None, NOTHING, "status 529"),
    (Fault(401, {}, "authentication_error", "invalid_api_key", f"Incorrect API key provided: {CANARY}"),
     "invalid_request", None, NOTHING, "does not accept the key in"),
    (Fault(403, {}, "permission_error"), "invalid_request", None, NOTHING, "does not accept the key in"),
    (Fault(404, {}, "not_found_error", "model_not_found"), "invalid_request", None, NOTHING, "knows no model"),
    (Fault(402, {}, "billing_error", "insufficient_quota"), "quota", None, NOTHING, "top it up"),
    (Fault(400, {}, "invalid_request_error", None, f"bad field; Authorization: Bearer {CANARY}"),
     "invalid_request", None, NOTHING, "bad field"),
    (Fault(400, {}, "invalid_request_error", None, "Output blocked by content filtering policy"),
     "content_policy", None, NOTHING, "reword it"),
    (Fault(302, {"location": "http://127.0.0.1:9/"}), "provider", None, None, "failed"),
    (Fault(kind="not_json"), "provider", None, None, "decode"),
    (Fault(kind="text_body"), "provider", None, None, "expected|Expected"),
    (Fault(kind="wrong_fields"), "provider", None, BILLED, "another form than asked"),
    (Fault(kind="no_tool"), "provider", None, BILLED, "another form than asked"),
    (Fault(kind="empty"), "provider", None, BILLED, "without a title or a body"),
    (Fault(kind="length"), "provider", None, BILLED, "GENERATION_ANSWER_LIMIT"),
    (Fault(kind="cut"), "provider", None, None, "cut the connection"),
    (Fault(kind="filtered"), "content_policy", None, BILLED, "reword it"),
    (Fault(kind="refused"), "content_policy", None, BILLED, "reword it"),
]  # fmt: skip


@both
@pytest.mark.parametrize(
    ("fault", "category", "retry_after", "usage", "says"),
    STATUSES,
    ids=[f"{f[0].status}-{f[0].kind}-{f[1]}" for f in STATUSES],
)
def test_every_way_to_fail_has_its_category_its_cost_and_its_way_out(
    server: LlmServer,
    engine: LlmEngine,
    name: str,
    fault: Fault,
    category: str,
    retry_after: float | None,
    usage: Usage | None,
    says: str,
) -> None:
    server.script.append(fault)
    with pytest.raises(ProviderFailure, match=says) as caught:
        provider(engine, name).generate(REQUEST, timeout=60)
    failure = caught.value
    assert (failure.category, failure.retry_after, failure.provider) == (FailureCategory(category), retry_after, name)
    assert failure.usage == usage
    assert len(server.calls) == 1, "retries are the queue's"
    assert str(failure).startswith(name)
    assert (failure.__cause__, failure.__context__) == (None, None), (
        "a library's error holds the request and its headers"
    )
    assert CANARY not in "".join(traceback.format_exception(failure))


def test_openais_quota_is_no_rate_limit(server: LlmServer, engine: LlmEngine) -> None:
    server.script.append(Fault(429, {}, "insufficient_quota", "insufficient_quota", "You exceeded your current quota"))
    with pytest.raises(ProviderFailure) as caught:
        provider(engine, "openai").generate(REQUEST, timeout=60)
    assert (caught.value.category, caught.value.permanent, caught.value.retry_after) == (
        FailureCategory.quota, True, None,
    )  # fmt: skip


@both
@pytest.mark.parametrize("kind", ["drip", "hang"])
def test_a_stream_that_drips_is_ended_by_the_timeout(
    server: LlmServer, engine: LlmEngine, name: str, kind: str
) -> None:
    """A byte every 20 ms: no single read is ever slow, and the whole answer would take 12 s."""
    server.script.append(Fault(kind=kind))  # type: ignore[arg-type]
    began = time.monotonic()
    with pytest.raises(ProviderFailure, match=r"gave no whole answer within 0\.6 s") as caught:
        provider(engine, name).generate(REQUEST, timeout=0.6)
    assert 0.5 <= time.monotonic() - began < 5
    assert (caught.value.category, caught.value.usage) == (FailureCategory.timeout, None)
    wait_until(lambda: server.open_streams == 0)


@both
def test_a_stop_ends_a_call_at_once(server: LlmServer, engine: LlmEngine, name: str) -> None:
    server.script.append(Fault(kind="hang"))
    stop = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(provider(engine, name).generate, REQUEST, timeout=60, stop=stop)
        wait_until(lambda: len(server.calls) == 1)
        stop.set()
        with pytest.raises(Stopped):
            call.result(10)
    wait_until(lambda: server.open_streams == 0)


def wait_until(condition: Callable[[], bool], seconds: float = 15.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)


@both
def test_a_server_that_is_not_there_cost_nothing(name: str) -> None:
    engine = LlmEngine(dict.fromkeys(MODELS, "http://127.0.0.1:9"), silence=5, max_tokens=4000)
    try:
        with pytest.raises(ProviderFailure, match="could not be reached") as caught:
            provider(engine, name).generate(REQUEST, timeout=30)
    finally:
        engine.close()
    assert (caught.value.category, caught.value.usage) == (FailureCategory.provider, NOTHING)


@both
def test_a_refusal_pauses_all_and_the_header_of_a_success_does_too(
    server: LlmServer, engine: LlmEngine, name: str
) -> None:
    limiter = RateLimiter(name)
    one = provider(engine, name, limiter=limiter)
    chain = ProviderChain([Link(one, limiter)], long_patience=0.5)
    server.script.append(Fault(429, {"retry-after": "600"}, "rate_limit_error"))
    with ThreadPoolExecutor(10) as pool:
        first = pool.submit(chain.generate, REQUEST, timeout=60)
        assert isinstance(first.exception(60), ProviderFailure)
        others = [pool.submit(chain.generate, REQUEST, timeout=60) for _ in range(10)]
        failures = [other.exception(60) for other in others]
    assert len(server.calls) == 1, "nobody calls during the pause"
    assert all(isinstance(failure, ProviderFailure) and 500 < failure.retry_after <= 600 for failure in failures)
    used_up = (
        {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "5m0s"}
        if name == "openai"
        else {
            "anthropic-ratelimit-requests-remaining": "0",
            "anthropic-ratelimit-requests-reset": "2099-01-01T00:00:00Z",
        }
    )
    fresh = RateLimiter(name)
    chain = ProviderChain([Link(provider(engine, name, limiter=fresh), fresh)], long_patience=0.5)
    server.script.append(used_up)
    assert chain.generate(REQUEST, timeout=60).provider == name
    with pytest.raises(ProviderFailure, match="at its rate limit for another"):
        chain.generate(REQUEST, timeout=60)
    assert len(server.calls) == 2


def test_the_next_provider_takes_over_and_each_try_is_told_apart(server: LlmServer, engine: LlmEngine) -> None:
    chain = ProviderChain(
        [Link(provider(engine, "openai")), Link(provider(engine, "anthropic")), Link(TemplateProvider())]
    )
    server.script.extend([Fault(500), None])
    assert chain.generate(REQUEST, timeout=60).provider == "anthropic"
    server.script.extend([Fault(kind="wrong_fields"), Fault(529)])
    assert chain.generate(REQUEST, timeout=60).provider == "template"
    server.script.append(Fault(kind="refused"))
    with pytest.raises(ProviderFailure, match="openai refused the topic"):
        chain.generate(REQUEST, timeout=60)
    assert len(server.calls) == 5


def test_ten_threads_call_at_once(server: LlmServer, engine: LlmEngine) -> None:
    server.delay = 0.3
    providers = [provider(engine, name) for name in MODELS]
    providers[0].generate(REQUEST, timeout=60)
    with ThreadPoolExecutor(10) as pool:
        replies = list(pool.map(lambda n: providers[n % 2].generate(REQUEST, timeout=60), range(20)))
    assert {reply.usage for reply in replies} == {BILLED}
    assert server.most_at_once >= 5


@both
def test_a_key_that_was_replaced_meanwhile_fails_no_call(server: LlmServer, engine: LlmEngine, name: str) -> None:
    held = [HeldKey(SecretStr("sk-old"), 1, own=True), HeldKey(SecretStr("sk-new"), 2, own=True)]
    one = LlmProvider(
        name, MODELS[name], engine=engine, key=lambda again: held[again], limiter=RateLimiter(name),
        price=ModelPrice(name, MODELS[name], PRICE),
    )  # fmt: skip
    server.keys = {"sk-new"}
    assert one.generate(REQUEST, timeout=60).usage == BILLED
    assert server.sent_keys() == ["sk-old", "sk-new"]
    server.keys = {"sk-other"}
    with pytest.raises(KeyNotAccepted, match=r"does not accept the tenant's key: bring a new one") as caught:
        one.generate(REQUEST, timeout=60)
    assert len(server.calls) == 4
    assert caught.value.permanent
    held[1] = held[0]
    with pytest.raises(KeyNotAccepted):
        one.generate(REQUEST, timeout=60)
    assert len(server.calls) == 5, "the same key is not tried twice"


@both
def test_a_key_that_was_replaced_twice_while_a_call_waited_fails_no_call(
    server: LlmServer, engine: LlmEngine, name: str
) -> None:
    """As often as the tenant changes it: each answer comes when the key that was sent is gone already."""
    keys = iter([HeldKey(SecretStr(f"sk-{turn}"), turn, own=True) for turn in (1, 2, 3)])
    one = LlmProvider(
        name, MODELS[name], engine=engine, key=lambda _: next(keys), limiter=RateLimiter(name),
        price=ModelPrice(name, MODELS[name], PRICE),
    )  # fmt: skip
    server.keys = {"sk-3"}
    assert one.generate(REQUEST, timeout=60).usage == BILLED
    assert server.sent_keys() == ["sk-1", "sk-2", "sk-3"]
    keys = iter([HeldKey(SecretStr(f"sk-{turn}"), turn, own=True) for turn in (1, 2, 1)])
    with pytest.raises(KeyNotAccepted):
        one.generate(REQUEST, timeout=60)
    assert server.sent_keys()[3:] == ["sk-1", "sk-2"], "no key is tried twice, whichever came between"


@both
def test_the_environment_adds_nothing_to_a_call(
    server: LlmServer, running: LlmServer, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable, value in {
        "OPENAI_API_KEY": "sk-ambient", "OPENAI_ADMIN_KEY": "sk-ambient", "OPENAI_ORG_ID": "org-ambient",
        "OPENAI_PROJECT_ID": "proj-ambient", "OPENAI_BASE_URL": "http://127.0.0.1:9/",
        "OPENAI_CUSTOM_HEADERS": "Authorization: Bearer sk-ambient\nx-api-key: sk-ambient",
        "ANTHROPIC_API_KEY": "sk-ambient", "ANTHROPIC_AUTH_TOKEN": "sk-ambient",
        "ANTHROPIC_BASE_URL": "http://127.0.0.1:9/",
        "ANTHROPIC_CUSTOM_HEADERS": "authorization: Bearer sk-ambient\nx-api-key: sk-ambient",
    }.items():  # fmt: skip
        monkeypatch.setenv(variable, value)
    urls = {"openai": running.base_url("openai"), "anthropic": running.base_url("anthropic")}
    engine = LlmEngine(urls, silence=60, max_tokens=4000)
    try:
        provider(engine, name).generate(REQUEST, timeout=60)
        assert "ambient" not in str(server.calls[0][1])
        assert server.sent_keys() == [CANARY]
        assert LlmEngine({}, silence=1, max_tokens=256).base_urls == BASE_URLS
    finally:
        engine.close()


def all_that_a_call_says(one: LlmProvider) -> list[str]:
    """The reply, or the error with its traceback and the local values of every frame."""
    try:
        return [repr(one.generate(REQUEST, timeout=60))]
    except ProviderFailure as failure:
        traced = traceback.TracebackException.from_exception(failure, capture_locals=True)
        return [repr(failure), repr(vars(failure)), repr(failure.args), *traced.format()]


@both
def test_no_log_no_repr_and_no_error_shows_a_key(
    server: LlmServer, engine: LlmEngine, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    for logger in ("openai", "anthropic", "httpx", "httpx2", "httpcore", "httpcore2", "asyncio", "pydantic_ai"):
        caplog.set_level(logging.DEBUG, logger=logger)
    one = provider(engine, name)
    said: list[str] = [repr(one), repr(engine), repr(one.__dict__), repr(vars(engine))]
    for fault in [None, *(fault for fault, *_ in STATUSES)]:
        server.script.append(fault)
        said += all_that_a_call_says(one)
    agent = engine.agent(name, MODELS[name])
    client = agent.model.client  # type: ignore[union-attr]
    said += [repr(agent), repr(agent.model), repr(client), repr(vars(client)), repr(vars(engine.client(name)))]
    assert len(caplog.records) > 100, "the loggers are on"
    assert CANARY not in caplog.text
    assert all(CANARY not in str(record.__dict__) for record in caplog.records)
    assert all(CANARY not in text for text in said)
    assert server.sent_keys() == [CANARY] * len(server.calls)


@both
def test_a_provider_is_asked_about_a_key_for_nothing(server: LlmServer, engine: LlmEngine, name: str) -> None:
    key = ProviderKey(uuid4(), name, 1, SecretStr(CANARY))
    probe(engine, key)
    assert [path for path, *_ in server.calls] == ["/v1/models"]
    server.keys = set()
    with pytest.raises(KeyRefused, match="status 401") as refused:
        probe(engine, key)
    server.keys = None
    server.script.append(Fault(500))
    with pytest.raises(Transient, match="answered 500") as unknown:
        probe(engine, key)
    server.delay = 1.0
    with pytest.raises(Transient, match=r"could not be asked about the key \(TimeoutError\)") as late:
        probe(engine, key, timeout=0.2)
    for error in (refused, unknown, late):
        assert CANARY not in "".join(traceback.format_exception(error.value))


def test_closing_ends_what_is_under_way_and_a_later_call_starts_anew(server: LlmServer) -> None:
    engine = LlmEngine({"openai": server.base_url("openai")}, silence=60, max_tokens=4000)
    engine.close()
    server.script.append(Fault(kind="hang"))
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(provider(engine, "openai").generate, REQUEST, timeout=60)
        wait_until(lambda: len(server.calls) == 1)
        engine.close()
        with pytest.raises(Stopped, match="closed during a call"):
            call.result(20)
    assert provider(engine, "openai").generate(REQUEST, timeout=60).provider == "openai"
    engine.close()


def test_prices_come_from_the_table_or_from_a_person_and_never_from_nowhere() -> None:
    table = ModelPrice("openai", "gpt-4.1-mini")
    assert table.cost(Tokens(1_000_000, 0)) == Decimal("0.4")
    assert table.cost(Tokens(0, 1_000_000)) == Decimal("1.6")
    assert table.cost(Tokens(1_000_000, 0, cache_read=1_000_000)) == Decimal("0.1")
    assert ModelPrice("anthropic", "claude-haiku-4-5").cost(Tokens(1000, 2000)) == Decimal("0.011")
    with pytest.raises(
        Permanent, match=r"cost of openai:house-model is not known.*GENERATION_PRICES=house-model=0.25/2"
    ):
        ModelPrice("openai", "house-model")
    given = prices_given("house-model=0.25/2 free=0/0")
    assert ModelPrice("openai", "house-model", given["house-model"]).cost(Tokens(1000, 1000)) == Decimal("0.00225")
    assert ModelPrice("openai", "free", given["free"]).cost(Tokens(1000, 1000)) == 0
    for wrong in ("house-model", "house-model=1", "=1/2", "a=1/x", "a=-1/2"):
        with pytest.raises(ValueError, match="GENERATION_PRICES has"):
            prices_given(wrong)
