"""What a provider's response headers say about when it may be called again. The waiting is done in `rate_limit.py`."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

MOST_SECONDS = 86_400.0
_DURATION = re.compile(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m(?!s))?(?:(\d+(?:\.\d+)?)s)?(?:(\d+(?:\.\d+)?)ms)?")
# Overloaded and unavailable servers send Retry-After too (529 is Anthropic's).
_BUSY = frozenset({429, 503, 529})
_OPENAI = re.compile(r"x-ratelimit-remaining-(.+)")
_ANTHROPIC = re.compile(r"anthropic-ratelimit-(.+)-remaining")


def pause_seconds(status: int, headers: Mapping[str, str], now: datetime) -> float | None:
    """Seconds from `now` (UTC) during which the provider must not be called, or None where it says nothing.

    A refusal's Retry-After comes first. Otherwise the latest reset of every allowance that is at zero: a response that
    used the last of one says so, and calling again before would only be refused. What cannot be read was not said.
    """
    named = {name.lower(): value.strip() for name, value in headers.items()}
    if status in _BUSY:
        told = _retry_after(named, now)
        if told is not None:
            return told
    resets = [_reset(named, name, now) for name, value in named.items() if value == "0"]
    waits = [wait for wait in resets if wait is not None and wait > 0]
    return max(waits, default=None)


def _retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    milliseconds = _number(headers.get("retry-after-ms", ""))
    if milliseconds is not None:
        return min(milliseconds / 1000, MOST_SECONDS)
    text = headers.get("retry-after", "")
    seconds = _number(text)
    if seconds is not None:
        return min(seconds, MOST_SECONDS)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    return _until(moment, now)


def _reset(headers: Mapping[str, str], name: str, now: datetime) -> float | None:
    if found := _OPENAI.fullmatch(name):
        return _duration(headers.get(f"x-ratelimit-reset-{found[1]}", ""))
    if found := _ANTHROPIC.fullmatch(name):
        try:
            return _until(datetime.fromisoformat(headers.get(f"anthropic-ratelimit-{found[1]}-reset", "")), now)
        except ValueError:
            return None
    return None


def _until(moment: datetime, now: datetime) -> float:
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return min(max(0.0, (aware - now).total_seconds()), MOST_SECONDS)


def _number(text: str) -> float | None:
    return float(text) if re.fullmatch(r"\d{1,12}(\.\d{1,12})?", text) else None


def _duration(text: str) -> float | None:
    """Seconds of OpenAI's `1h2m3.5s`, `6m0s` or `17ms`; a plain number is seconds."""
    plain = _number(text)
    if plain is not None:
        return min(plain, MOST_SECONDS)
    found = _DURATION.fullmatch(text) if text else None
    if not found:
        return None
    hours, minutes, seconds, milliseconds = (float(part or 0) for part in found.groups())
    return min(hours * 3600 + minutes * 60 + seconds + milliseconds / 1000, MOST_SECONDS)
