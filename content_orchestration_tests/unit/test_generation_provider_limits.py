"""Rate limits by headers and across ten threads, and the order of fallback. Time is injected: nothing waits."""

import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from email.utils import format_datetime
from time import sleep as real_sleep
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from content_orchestration.core.errors import Permanent
from content_orchestration.core.generation.fallback import Link, ProviderChain
from content_orchestration.core.generation.model import FailureCategory
from content_orchestration.core.generation.provider import Generated, ProviderFailure, Reply, Stopped, Usage
from content_orchestration.core.generation.rate_headers import pause_seconds
from content_orchestration.core.generation.rate_limit import RateLimiter
from content_orchestration.core.generation.request import GenerationRequest
from content_orchestration.core.generation.template import TemplateProvider

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
REQUEST = GenerationRequest.of(uuid4(), "post", {"topic": "Restore drills"})


class Time:
    """A clock that goes on when somebody sleeps, and faster when several do."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept = 0
        self._guard = threading.Condition()

    def clock(self) -> float:
        with self._guard:
            return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        with self._guard:
            self.slept += 1
            self.now += seconds
        real_sleep(0.0001)  # lets another thread run

    def utc(self) -> datetime:
        return NOW + timedelta(seconds=self.clock() - 1000)


def limiter(time: Time, per_minute: int | None = None) -> RateLimiter:
    return RateLimiter("openai", per_minute, clock=time.clock, sleep=time.sleep, now=time.utc)


@pytest.mark.parametrize(
    ("status", "headers", "seconds"),
    [
        (200, {}, None),
        (500, {"retry-after": "9"}, None),
        (429, {}, None),
        (429, {"Retry-After": "7"}, 7),
        (429, {"retry-after": "0"}, 0),
        (429, {"retry-after": "1.5"}, 1.5),
        (429, {"retry-after": "99999999"}, 86_400),
        (429, {"retry-after": "-3"}, None),
        (429, {"retry-after": "soon"}, None),
        (429, {"retry-after": "nan"}, None),
        (429, {"retry-after-ms": "250", "retry-after": "7"}, 0.25),
        (503, {"retry-after": "3"}, 3),
        (529, {"retry-after": "4"}, 4),
        (429, {"retry-after": format_datetime(NOW + timedelta(seconds=90), usegmt=True)}, 90),
        (429, {"retry-after": format_datetime(NOW - timedelta(seconds=90), usegmt=True)}, 0),
        (429, {"retry-after": "Sat Nov 21 12:00:10 2026"}, 10),
        (200, {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "6m0s"}, 360),
        (200, {"x-ratelimit-remaining-requests": "1", "x-ratelimit-reset-requests": "6m0s"}, None),
        (200, {"X-RateLimit-Remaining-Tokens": "0", "X-RateLimit-Reset-Tokens": "17ms"}, 0.017),
        (200, {"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "1h2m3.5s"}, 3723.5),
        (200, {"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "12"}, 12),
        (200, {"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "whenever"}, None),
        (200, {"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": ""}, None),
        (200, {"x-ratelimit-remaining-tokens": "0"}, None),
        (200, {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "2s",
               "x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "5s"}, 5),
        (200, {"anthropic-ratelimit-requests-remaining": "0",
               "anthropic-ratelimit-requests-reset": "2026-11-21T12:00:30Z"}, 30),
        (200, {"anthropic-ratelimit-output-tokens-remaining": "0",
               "anthropic-ratelimit-output-tokens-reset": "2026-11-21T11:59:30Z"}, None),
        (200, {"anthropic-ratelimit-tokens-remaining": "0", "anthropic-ratelimit-tokens-reset": "x"}, None),
        (429, {"retry-after": "1", "anthropic-ratelimit-requests-remaining": "0",
               "anthropic-ratelimit-requests-reset": "2026-11-21T12:00:30Z"}, 1),
        (429, {"anthropic-ratelimit-requests-remaining": "0",
               "anthropic-ratelimit-requests-reset": "2026-11-21T12:00:30Z"}, 30),
    ],
)  # fmt: skip
def test_what_headers_ask_for(status: int, headers: dict[str, str], seconds: float | None) -> None:
    assert pause_seconds(status, headers, NOW) == seconds


@given(st.sampled_from([200, 429, 503]), st.text(max_size=30), st.text(max_size=30))
def test_no_header_breaks_the_reading(status: int, first: str, second: str) -> None:
    headers = {
        "retry-after": first, "retry-after-ms": second, "x-ratelimit-remaining-requests": "0",
        "x-ratelimit-reset-requests": first, "anthropic-ratelimit-tokens-remaining": "0",
        "anthropic-ratelimit-tokens-reset": second,
    }  # fmt: skip
    pause = pause_seconds(status, headers, NOW)
    assert pause is None or 0 <= pause <= 86_400


class Watched(RateLimiter):
    """Notes each grant at the moment at which it is given, under the limiter's own lock."""

    def __init__(self, time: Time) -> None:
        super().__init__("openai", clock=time.clock, sleep=time.sleep, now=time.utc)
        self.events: list[tuple[str, int, int, float]] = []
        self.pauses: list[float] = []

    def _wait_seconds(self) -> float:
        wait = super()._wait_seconds()
        if wait <= 0:
            self.events.append(("in", threading.get_ident(), self._epoch, self._clock()))
        return wait

    def observe(self, status: int, headers: Mapping[str, str]) -> float | None:
        self.pauses.append(self._clock() + float(headers["retry-after"]))
        return super().observe(status, headers)


def test_a_refusal_pauses_all_ten_threads_and_one_goes_ahead_alone() -> None:
    """After each 429 nobody is let through before its time, and the next one only when the first has come back."""
    time = Time()
    shared = Watched(time)
    refusals = threading.Semaphore(15)

    def work(number: int) -> None:
        for round_ in range(20):
            with shared.permit(1e9):
                epoch = [event[2] for event in shared.events if event[:2] == ("in", threading.get_ident())][-1]
                real_sleep(0.0005)
                if (number + round_) % 7 == 0 and refusals.acquire(blocking=False):
                    shared.observe(429, {"retry-after": "30"})
                shared.events.append(("out", threading.get_ident(), epoch, 0.0))

    with ThreadPoolExecutor(10) as pool:
        list(pool.map(work, range(10)))
    assert sum(event[0] == "in" for event in shared.events) == 200
    assert len(shared.pauses) == 15
    for epoch in range(1, 16):
        after = [event for event in shared.events if event[2] == epoch]
        if not after:
            continue
        assert all(event[3] >= max(shared.pauses[:epoch]) for event in after if event[0] == "in")
        assert [event[:2] for event in after[:2]] == [("in", after[0][1]), ("out", after[0][1])], "two at once"


def test_the_pause_of_a_refusal_without_a_time_doubles_and_ends_with_a_success() -> None:
    time = Time()
    shared = limiter(time)
    pauses = []
    for _ in range(8):
        with shared.permit(1e9):
            pauses.append(shared.observe(429, {}))
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60]
    with shared.permit(1e9):
        pass
    assert shared.observe(429, {}) == 1


def test_a_success_that_used_up_the_allowance_pauses_too() -> None:
    time = Time()
    shared = limiter(time)
    with shared.permit(0):
        shared.observe(200, {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "20s"})
    with pytest.raises(ProviderFailure) as caught, shared.permit(10):
        pytest.fail("called during the pause")
    assert caught.value.category is FailureCategory.rate_limit
    assert caught.value.retry_after == pytest.approx(20)
    assert "another 20 s" in str(caught.value)
    assert time.slept == 0, "a wait that is too long anyway is not begun"
    with shared.permit(20):
        assert time.clock() >= 1020


def test_a_shorter_pause_does_not_end_a_longer_one() -> None:
    time = Time()
    shared = limiter(time)
    shared.observe(200, {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "20s"})
    shared.observe(200, {"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "1s"})
    with shared.permit(1e9):
        assert time.clock() >= 1020


def test_calls_a_minute_are_held_across_ten_threads() -> None:
    time = Time()
    shared = limiter(time, per_minute=120)
    at: list[float] = []

    def work(_: int) -> None:
        for _ in range(12):
            with shared.permit(1e9):
                at.append(time.clock())

    with ThreadPoolExecutor(10) as pool:
        list(pool.map(work, range(10)))
    assert len(at) == 120
    # Two a second, and at most one second's worth at once: 118 of them take at least 59 s.
    assert max(at) - 1000 >= 58.9
    for begin in range(1000, int(max(at)) - 10, 5):
        assert sum(begin <= moment < begin + 10 for moment in at) <= 23


def test_a_stop_ends_the_wait() -> None:
    time = Time()
    shared = limiter(time)
    shared.observe(429, {"retry-after": "3000"})
    stop = threading.Event()

    def sleep(seconds: float) -> None:
        stop.set()

    shared._sleep = sleep
    with pytest.raises(Stopped, match="rate limit of openai"), shared.permit(1e9, stop):
        pytest.fail("it was stopped")


def test_a_probe_that_fails_otherwise_lets_the_others_go() -> None:
    time = Time()
    shared = limiter(time)
    shared.observe(429, {"retry-after": "1"})
    with pytest.raises(RuntimeError), shared.permit(1e9):
        raise RuntimeError("500")
    with shared.permit(0), shared.permit(0):
        pass


def test_while_the_probe_is_out_others_wait() -> None:
    time = Time()
    shared = limiter(time)
    shared.observe(429, {"retry-after": "1"})
    with shared.permit(1e9):
        with pytest.raises(ProviderFailure), shared.permit(0.1):
            pytest.fail("two at once")
        with pytest.raises(ProviderFailure), shared.permit(5):
            pytest.fail("two at once")


class Told:
    """A provider that does what it is told, and notes the time that it was given."""

    def __init__(self, name: str, does: Callable[[], Usage | ProviderFailure], took: Callable[[], None] = lambda: None):
        self.name, self.model = name, f"{name}-1"
        self._does, self._took = does, took
        self.timeouts: list[float] = []

    def generate(self, request: GenerationRequest, *, timeout: float, stop: threading.Event | None = None) -> Reply:
        self.timeouts.append(timeout)
        self._took()
        told = self._does()
        if isinstance(told, ProviderFailure):
            raise told
        return Reply(Generated.of(request, "t", "b", []), told, self.name, self.model)


def failing(name: str, category: FailureCategory, **given: object) -> Told:
    return Told(name, lambda: ProviderFailure(category, f"{name} failed", provider=name, **given))  # type: ignore[arg-type]


def good(name: str) -> Told:
    return Told(name, lambda: Usage(1, 2, Decimal("0.5")))


def test_the_first_that_gives_a_text_is_taken() -> None:
    first, second = good("a"), good("b")
    assert ProviderChain([Link(first), Link(second)]).generate(REQUEST, timeout=60).provider == "a"
    assert second.timeouts == []


@pytest.mark.parametrize(
    "category", [c for c in FailureCategory if c is not FailureCategory.content_policy], ids=lambda c: c.value
)
def test_every_failure_but_a_refused_topic_goes_on_to_the_next(category: FailureCategory) -> None:
    assert ProviderChain([Link(failing("a", category)), Link(good("b"))]).generate(REQUEST, timeout=60).provider == "b"


def test_a_refused_topic_is_not_carried_to_another_provider() -> None:
    second = good("b")
    with pytest.raises(ProviderFailure) as caught:
        ProviderChain([Link(failing("a", FailureCategory.content_policy)), Link(second)]).generate(REQUEST, timeout=60)
    assert caught.value.category is FailureCategory.content_policy
    assert second.timeouts == []


def test_each_call_is_an_attempt_of_its_own() -> None:
    noted: list[tuple[str, ...]] = []

    @contextmanager
    def attempt(provider: str, model: str) -> Iterator[Callable[[Reply], None]]:
        noted.append(("began", provider, model))
        try:
            yield lambda reply: noted.append(("replied", reply.provider, str(reply.usage.cost_usd)))
        except ProviderFailure as failure:
            noted.append(("failed", provider, failure.category))
            raise

    ProviderChain([Link(failing("a", FailureCategory.timeout)), Link(good("b"))]).generate(
        REQUEST, timeout=60, attempt=attempt
    )
    assert noted == [("began", "a", "a-1"), ("failed", "a", "timeout"), ("began", "b", "b-1"), ("replied", "b", "0.5")]


def test_an_attempt_that_cannot_begin_makes_no_call() -> None:
    @contextmanager
    def fenced(provider: str, model: str) -> Iterator[Callable[[Reply], None]]:
        raise Stopped("the fence refused")
        yield lambda reply: None

    provider = good("a")
    with pytest.raises(Stopped):
        ProviderChain([Link(provider), Link(good("b"))]).generate(REQUEST, timeout=60, attempt=fenced)
    assert provider.timeouts == []


def test_each_gets_an_equal_share_of_the_time_that_is_left() -> None:
    time = Time()

    def ten_seconds() -> None:
        time.now += 10

    slow = Told("a", lambda: ProviderFailure(FailureCategory.timeout, "a", provider="a"), ten_seconds)
    quick = failing("b", FailureCategory.provider)
    last = good("c")
    ProviderChain([Link(slow), Link(quick), Link(last)], clock=time.clock).generate(REQUEST, timeout=60)
    assert (slow.timeouts, quick.timeouts, last.timeouts) == ([20], [25], [50])


def test_a_paused_provider_is_passed_over_without_an_attempt_and_the_last_is_waited_for() -> None:
    time = Time()
    paused, waited_for = limiter(time), limiter(time)
    paused.observe(429, {"retry-after": "100"})
    waited_for.observe(429, {"retry-after": "30"})
    first, last = good("a"), good("b")
    chain = ProviderChain([Link(first, paused), Link(last, waited_for)], long_patience=60, clock=time.clock)
    assert chain.generate(REQUEST, timeout=10).provider == "b"
    assert (first.timeouts, last.timeouts) == ([], [10])
    assert time.clock() >= 1030
    assert [provider.name for provider in chain.providers] == ["a", "b"]


def test_one_failure_for_all_says_everything_and_is_worth_a_retry_where_one_is() -> None:
    used = Usage(10, 20, Decimal("0.25"))
    chain = ProviderChain(
        [
            Link(failing("a", FailureCategory.invalid_request, usage=Usage())),
            Link(failing("b", FailureCategory.rate_limit, retry_after=40.0)),
            Link(failing("c", FailureCategory.rate_limit, retry_after=9.0, usage=used)),
        ]
    )
    with pytest.raises(ProviderFailure) as caught:
        chain.generate(REQUEST, timeout=60)
    failure = caught.value
    assert (failure.category, failure.provider, failure.permanent) == (FailureCategory.rate_limit, "b", False)
    assert failure.retry_after == 9
    assert failure.usage == used
    assert str(failure) == "all 3 providers failed: a: a failed; b: b failed; c: c failed"


def test_a_provider_that_named_no_time_may_be_tried_at_once() -> None:
    chain = ProviderChain(
        [Link(failing("a", FailureCategory.rate_limit, retry_after=40.0)), Link(failing("b", FailureCategory.provider))]
    )
    with pytest.raises(ProviderFailure) as caught:
        chain.generate(REQUEST, timeout=60)
    assert (caught.value.retry_after, caught.value.usage) == (None, None)


def test_where_none_is_worth_a_retry_the_first_reason_stands() -> None:
    chain = ProviderChain(
        [Link(failing("a", FailureCategory.quota)), Link(failing("b", FailureCategory.invalid_request))]
    )
    with pytest.raises(ProviderFailure) as caught:
        chain.generate(REQUEST, timeout=60)
    assert (caught.value.category, caught.value.permanent) == (FailureCategory.quota, True)


def test_a_chain_of_nobody_is_refused() -> None:
    with pytest.raises(Permanent, match="no provider is left"):
        ProviderChain([])


def test_the_template_is_a_provider_like_any_other() -> None:
    chain = ProviderChain([Link(failing("a", FailureCategory.provider)), Link(TemplateProvider())])
    assert chain.generate(REQUEST, timeout=60).provider == "template"
