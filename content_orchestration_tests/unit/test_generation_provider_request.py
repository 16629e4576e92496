"""What a provider is asked for, the score by hand, the template's texts."""

import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from threading import Event
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from content_orchestration.core.errors import Permanent
from content_orchestration.core.generation.model import Claimed, FailureCategory
from content_orchestration.core.generation.provider import ProviderFailure, Stopped
from content_orchestration.core.generation.request import DEFAULT_WORDS, GenerationRequest
from content_orchestration.core.generation.score import seo_score, word_count
from content_orchestration.core.generation.template import TemplateProvider

TENANT = UUID("11111111-1111-4111-8111-111111111111")


def claimed(request: dict[str, Any], params: dict[str, Any] | None = None, **given: Any) -> Claimed:
    values: dict[str, Any] = {
        "id": "item-1", "batch_id": None, "tenant_id": TENANT, "brand_id": None, "user_id": None,
        "content_type": "article", "request": request, "params": params or {}, "attempt": 1, "max_attempts": 3,
        "token": 1, "lease_expires_at": datetime.now(UTC),
    }  # fmt: skip
    return Claimed(**(values | given))


def asked(**fields: Any) -> GenerationRequest:
    return GenerationRequest.of(TENANT, fields.pop("content_type", "article"), {"topic": "Restore drills", **fields})


def test_an_items_fields_come_before_its_batchs() -> None:
    item = claimed(
        {"topic": " Restore\n drills ", "tone": "dry", "seen_by": 3},
        {"tone": "warm", "keywords": "drills, backups,, drills", "target_words": 300, "language": "en-GB"},
    )
    assert GenerationRequest.from_item(item) == GenerationRequest(
        TENANT, "article", "Restore drills", ("drills", "backups"), "dry", 300, "", "en-GB"
    )


@pytest.mark.parametrize("name", ["topic_title", "title"])
def test_rows_of_the_older_shape_name_their_topic_otherwise(name: str) -> None:
    assert GenerationRequest.from_item(claimed({name: "Old", "instructions": None})).topic == "Old"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"topic": ""}, "topic is empty"),
        ({"topic": " \n"}, "topic is empty"),
        ({"topic": None}, "topic is empty"),
        ({"topic": 3}, "topic is a int, not text"),
        ({"topic": "x" * 501}, "topic is longer than 500 characters"),
        ({"topic": "a\x00b"}, "topic has a NUL character"),
        ({"topic": "\ud800"}, "topic is not valid UTF-8"),
        ({"keywords": 3}, "keywords is a int"),
        ({"keywords": ["a", 3]}, r"keywords\[1\] is a int"),
        ({"keywords": [str(n) for n in range(21)]}, "keywords has 21 entries"),
        ({"target_words": "many"}, "target_words is 'many'"),
        ({"target_words": True}, "target_words is True"),
        ({"target_words": 19}, "from 20 to 5000"),
        ({"target_words": 5001}, "from 20 to 5000"),
        ({"tone": ["dry"]}, "tone is a list"),
        ({"instructions": "x" * 4001}, "instructions is longer than 4,000"),
        ({"language": "english please"}, "BCP 47"),
        ({"language": 7}, "BCP 47"),
    ],
)
def test_a_bad_field_is_refused_by_its_name(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(Permanent, match=message):
        asked(**fields)


def test_what_nobody_owns_or_writes_is_refused() -> None:
    with pytest.raises(Permanent, match="tenant_id of item item-1 is empty"):
        GenerationRequest.from_item(claimed({"topic": "x"}, tenant_id=None))
    with pytest.raises(Permanent, match="content_type is 'video'"):
        GenerationRequest.from_item(claimed({"topic": "x"}, content_type="video"))


LONG = " ".join(["word"] * 300)


@pytest.mark.parametrize(
    ("title", "body", "keywords", "score"),
    [
        ("", "", (), 0),
        ("x" * 29, "", (), 0),
        ("x" * 30, "", (), 20),
        ("x" * 65, "", (), 20),
        ("x" * 66, "", (), 0),
        ("", "## a\n\nb\n\n### c\n\nd", (), 10),  # 4 words of 300 round to nothing
        ("", "# a\n\n#b\n\n## c", (), 0),
        ("", LONG, (), 10),
        ("", " ".join(["word"] * 150), (), 5),
        ("Backups", LONG, ("backups",), 10 + 20 + 10),
        ("Backupsy", LONG, ("backups",), 10 + 10),
        ("Backups", LONG + " backups", ("backups",), 10 + 20 + 10),  # once in 301 words is below 0.5 %, and too late
        ("", "backups " + LONG, ("backups",), 10 + 15 + 10),
        ("", "backups backups " + LONG, ("BACKUPS",), 10 + 15 + 15 + 10),
        ("", "backups " * 20 + LONG, ("backups",), 10 + 15 + 10),  # 20 of 320 are more than 3 %
        ("", "drills " + LONG, ("backups", "drills", "tape"), 10 + 5),
        ("", "two words two words " + LONG, ("two words", " "), 10 + 15 + 15 + 10),
        ("A title about backups of a good length", "## a\n\nbackups backups\n\n## b\n\n" + LONG, ("backups",), 100),
    ],
)
def test_the_score_is_what_its_rule_says(title: str, body: str, keywords: tuple[str, ...], score: int) -> None:
    assert seo_score(title, body, keywords) == score


def test_words_are_counted_as_people_do() -> None:
    assert word_count("It's a well-known **fact**: 3 ducks - größer.") == 7
    assert word_count("") == 0


@given(st.text(max_size=400), st.text(max_size=400), st.lists(st.text(max_size=20), max_size=5))
def test_any_text_has_a_score(title: str, body: str, keywords: list[str]) -> None:
    assert 0 <= seo_score(title, body, keywords) <= 100


@pytest.mark.parametrize("content_type", DEFAULT_WORDS)
@pytest.mark.parametrize("words", [20, 55, 150, 800, 2500, 5000])
def test_a_template_text_has_about_the_words_asked_for(content_type: str, words: int) -> None:
    request = asked(content_type=content_type, target_words=words, keywords=["restore drills", "backups"])
    reply = TemplateProvider().generate(request)
    text = reply.generated
    assert abs(text.word_count - words) <= max(20, words / 10)
    assert text.word_count == word_count(text.body)
    assert text.seo_score == seo_score(text.title, text.body, request.keywords)
    assert (reply.provider, reply.model, reply.usage.cost_usd) == ("template", "template-1", Decimal(0))
    assert text.tags == ["restore drills", "backups", "template"]
    assert text.body.endswith("*Template text: no language model wrote this.*")
    assert ("## " in text.body) == (content_type in ("article", "document") and words >= 150)
    assert text.body.startswith("Hello,") == (content_type == "email")


def test_a_good_template_article_scores_well() -> None:
    text = TemplateProvider().generate(asked(keywords=["restore drills", "backups"], target_words=1200)).generated
    assert text.seo_score == 100


ELSEWHERE = """
from uuid import uuid4
from content_orchestration.core.generation.request import GenerationRequest
from content_orchestration.core.generation.template import TemplateProvider
fields = {"topic": "Restore drills", "keywords": ["restore drills"], "target_words": 400}
request = GenerationRequest.of(uuid4(), "article", fields)
print(TemplateProvider().generate(request).generated.model_dump_json())
"""


def test_a_template_text_depends_on_the_request_alone() -> None:
    request = asked(keywords=["restore drills"], target_words=400)
    first = TemplateProvider().generate(request)
    assert TemplateProvider().generate(replace(request, tenant_id=uuid4())) == first
    for change in (
        {"topic": "Restores"}, {"tone": "dry"}, {"target_words": 401}, {"instructions": "x"}, {"language": "en-GB"},
        {"keywords": ("a",)}, {"content_type": "post"},
    ):  # fmt: skip
        assert TemplateProvider().generate(replace(request, **change)).generated != first.generated, change
    other = subprocess.run([sys.executable, "-c", ELSEWHERE], capture_output=True, text=True, check=True)
    assert other.stdout.strip() == first.generated.model_dump_json()


@given(
    st.text(min_size=1, max_size=60).filter(str.strip),
    st.lists(st.text(max_size=20), max_size=4),
    st.integers(20, 400),
    st.sampled_from(sorted(DEFAULT_WORDS)),
)
def test_any_request_that_is_accepted_gives_a_text(topic: str, keywords: list[str], words: int, kind: str) -> None:
    try:
        request = asked(topic=topic, keywords=keywords, target_words=words, content_type=kind)
    except Permanent:
        return
    text = TemplateProvider().generate(request).generated
    assert text.title.strip()
    assert text.body.encode()


def test_a_template_text_is_english_or_none() -> None:
    with pytest.raises(ProviderFailure, match="English only") as caught:
        TemplateProvider().generate(asked(language="de"))
    assert (caught.value.category, caught.value.permanent) == (FailureCategory.invalid_request, True)


def test_a_template_text_is_not_begun_after_a_stop() -> None:
    stop = Event()
    stop.set()
    with pytest.raises(Stopped):
        TemplateProvider().generate(asked(), timeout=1, stop=stop)
