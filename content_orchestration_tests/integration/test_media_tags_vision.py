"""The vision tagger over the real client libraries, against a local server that speaks their protocol."""

import base64
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pydantic import SecretStr

from content_orchestration.core.errors import Permanent, Transient
from content_orchestration.core.media.describe import Described
from content_orchestration.core.media.tags import Tag, tag
from content_orchestration.resources.vision import VisionTagger, vision_tagger
from content_orchestration.settings import Settings
from content_orchestration_tests import media_files as made
from content_orchestration_tests.vision_server import Reply, VisionServer, completion, delivers, fails

KEY = "sk-very-secret-key"
PHOTO = Described("image", "jpeg", "image/jpeg", 9, 640, 480)
SEEN = delivers({"tags": [{"name": "Sandy Beach", "confidence": 0.97}, {"name": "boat", "confidence": 0.6}]})


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "800.jpg"
    path.write_bytes(made.encoded(made.corners(), "JPEG"))
    return path


@contextmanager
def asking(*replies: Reply | None, timeout: float = 30) -> Iterator[tuple[VisionTagger, VisionServer]]:
    with VisionServer(*replies) as server:
        tagger = VisionTagger("openai", "eyes-1", SecretStr(KEY), base_url=server.url, timeout=timeout)
        try:
            yield tagger, server
        finally:
            tagger.close()


def test_the_model_sees_the_picture_and_nothing_else(picture: Path) -> None:
    with asking(SEEN) as (tagger, server):
        found = tagger.tags(PHOTO, "Confidential-Client-Name.jpg", picture)
        assert found == (Tag("sandy beach", "vision", 0.97), Tag("boat", "vision", 0.6))
        assert tagger.name == "openai:eyes-1"
        assert tagger.tags(PHOTO, "x.jpg", picture) == found, "the connection is used again"
    asked = server.asked[0]
    assert (asked["path"], asked["model"]) == ("/v1/chat/completions", "eyes-1")
    assert base64.b64encode(picture.read_bytes()).decode() in repr(asked["messages"])
    assert "Confidential" not in repr(asked)
    assert server.headers[0]["authorization"] == f"Bearer {KEY}"


def test_a_webp_is_sent_as_one(picture: Path) -> None:
    path = picture.with_name("400.webp")
    path.write_bytes(made.encoded(made.corners(), "WEBP"))
    with asking(SEEN) as (tagger, server):
        tagger.tags(PHOTO, "", path)
    assert "data:image/webp;base64," in repr(server.asked[0])


def test_without_a_picture_nobody_is_asked() -> None:
    with asking(SEEN) as (tagger, server):
        assert tagger.tags(PHOTO, "x.jpg", None) == ()
        assert not server.asked


@pytest.mark.parametrize(
    ("reply", "error", "words", "wait"),
    [
        (fails(429, "rate_limit_exceeded", **{"retry-after": "7"}), Transient, "status 429", 7.0),
        (fails(500), Transient, "status 500", None),
        (fails(503), Transient, "status 503", None),
        (fails(401, "invalid_api_key", f"Incorrect key {KEY}"), Transient, "does not accept the key", None),
        (fails(404, "model_not_found"), Transient, "does not accept the key", None),
        (fails(400, "invalid_image"), Permanent, "rejected the picture with status 400", None),
        (None, Transient, "did not answer", None),
        ((200, completion({"role": "assistant", "content": "I see a beach."}), {}), Transient, "another form", None),
        (delivers({"tags": "beach"}), Transient, "another form", None),
        (
            (200, completion({"role": "assistant", "content": None, "refusal": "no"}, "content_filter"), {}),
            Permanent, "content policy", None,
        ),
    ],
)  # fmt: skip
def test_failures_are_told_apart_and_asked_once(
    reply: Reply | None, error: type[Exception], words: str, wait: float | None, picture: Path
) -> None:
    with asking(reply) as (tagger, server):
        with pytest.raises((Transient, Permanent), match=words) as raised:
            tagger.tags(PHOTO, "x.jpg", picture)
        assert type(raised.value) is error
        assert getattr(raised.value, "retry_after", None) == wait
        assert raised.value.__cause__ is None
        assert KEY not in str(raised.value)
        assert KEY not in repr(vars(tagger))
        assert len(server.asked) == 1, "retries are the caller's"
        outcome = tag(PHOTO, "red-boat.jpg", picture, tagger)
        assert outcome.retry is (error is Transient)
        assert outcome.reason is not None
        assert words in outcome.reason
        assert {one.name for one in outcome.tags} >= {"red", "boat"}
        assert {one.source for one in outcome.tags} == {"heuristic"}


def test_a_silent_server_is_left_after_the_timeout(picture: Path) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/v1"
        tagger = VisionTagger("openai", "eyes-1", SecretStr(KEY), base_url=url, timeout=0.3)
        with pytest.raises(Transient, match=r"within 0.3 s"):
            tagger.tags(PHOTO, "x.jpg", picture)
        tagger.close()
        tagger.close()


def test_anthropic_is_asked_in_its_own_protocol(picture: Path) -> None:
    answer = {
        "id": "m", "type": "message", "role": "assistant", "model": "eyes-2", "stop_reason": "tool_use",
        "stop_sequence": None, "usage": {"input_tokens": 9, "output_tokens": 9},
        "content": [{"type": "tool_use", "id": "t", "name": "deliver_tags",
                     "input": {"tags": [{"name": "sea", "confidence": 0.9}]}}],
    }  # fmt: skip
    with VisionServer((200, answer, {})) as server:
        tagger = VisionTagger(
            "anthropic", "eyes-2", SecretStr(KEY), base_url=server.url.removesuffix("/v1"), timeout=30
        )
        assert tagger.tags(PHOTO, "x.jpg", picture) == (Tag("sea", "vision", 0.9),)
        tagger.close()
    assert server.asked[0]["path"].startswith("/v1/messages")
    assert server.headers[0]["x-api-key"] == KEY


# --- which tagger there is -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({}, None),
        ({"OPENAI_API_KEY": KEY}, "openai:gpt-4.1-mini"),
        ({"OPENAI_API_KEY": KEY, "ENABLE_AI_TAGGING": False}, None),
        ({"OPENAI_API_KEY": KEY, "MEDIA_VISION_MODEL": ""}, None),
        ({"OPENAI_API_KEY": KEY, "MEDIA_VISION_MODEL": "anthropic:eyes-2"}, None),
        ({"ANTHROPIC_API_KEY": KEY, "MEDIA_VISION_MODEL": "anthropic:eyes-2"}, "anthropic:eyes-2"),
    ],
)
def test_the_settings_name_the_tagger(given: dict[str, object], name: str | None) -> None:
    settings = Settings(**{"OPENAI_API_KEY": "", "ANTHROPIC_API_KEY": "", **given})
    tagger = vision_tagger(settings)
    assert (tagger.name if tagger else None) == name


def test_a_tenants_own_key_is_used_before_the_platforms(picture: Path) -> None:
    with VisionServer(SEEN) as server:
        settings = Settings(OPENAI_API_KEY="sk-platform", OPENAI_BASE_URL=server.url, MEDIA_VISION_TIMEOUT=20)
        tagger = vision_tagger(settings, SecretStr("sk-tenant"))
        assert tagger is not None
        tagger.tags(PHOTO, "x.jpg", picture)
        tagger.close()
    assert server.headers[0]["authorization"] == "Bearer sk-tenant"


def test_the_libraries_are_imported_when_they_are_used() -> None:
    code = (
        "import sys\n"
        "import content_orchestration.resources.vision\n"
        "print([name for name in ('pydantic_ai', 'openai', 'anthropic', 'pyvips', 'PIL') if name in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=dict(os.environ)
    )
    assert done.stdout.strip() == "[]"
