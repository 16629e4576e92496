"""Where notices go: services through apprise, and a file. `notifier.py` says which of them are used."""

import fcntl
import hashlib
import json
import logging
import os
from collections.abc import Collection
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import apprise

from content_orchestration.core.errors import Permanent, Transient
from content_orchestration.core.quota.notice_text import Message

SEND_SECONDS = 60.0
"""After this a send counts as failed. It may still arrive: less than the lease of a notice by far."""
# Slack takes one message a second; apprise's own 5.5 s between two mails would make 500 of them last 46 minutes.
_SECONDS_BETWEEN = 1.2
_DETAIL = 500
# How apprise begins the one line of its debug log that has the other side's own words.
_REASON = "Socket Exception"


def scheme_of(url: str) -> str:
    """The scheme of an apprise URL, lower case; empty for what has none. The rest of it is a secret."""
    return url.partition("://")[0].strip().lower() if "://" in url else ""


class AppriseTarget:
    """One service and one recipient.

    A URL with several recipients is refused: a retry after the second one failed would reach the first one again.
    """

    def __init__(self, url: str, allowed: Collection[str]) -> None:
        scheme = scheme_of(url)
        self.name = f"{scheme or 'unknown'}-{hashlib.sha256(url.encode()).hexdigest()[:12]}"
        if scheme not in allowed:
            raise Permanent(
                f"NOTIFY_URLS has a URL with the scheme {scheme!r}; allowed are {', '.join(sorted(allowed))} "
                "(NOTIFY_SCHEMES)"
            )
        service = apprise.Apprise.instantiate(url)
        if not isinstance(service, apprise.NotifyBase):
            raise Permanent(
                f"apprise cannot read the {scheme}:// URL in NOTIFY_URLS ({self.name}): compare it with the pattern in "
                f"https://github.com/caronc/apprise/wiki, with special characters percent-encoded"
            )
        # Retries are the outbox's: they are counted, spaced and recorded there.
        service.retry = 0
        service.request_rate_per_sec = min(service.request_rate_per_sec, _SECONDS_BETWEEN)
        copies = [*getattr(service, "cc", ()), *getattr(service, "bcc", ())]
        if len(service) + len(copies) != 1:
            raise Permanent(
                f"the {scheme}:// URL in NOTIFY_URLS ({self.name}) has {len(service) + len(copies)} recipients: write "
                "a URL for each, separated by a blank, so that a retry reaches only those who got nothing"
            )
        _keep_to_ourselves()
        self._secrets = _secrets(url)
        self._apprise = apprise.Apprise()
        self._apprise.add(service)

    def send(self, message: Message) -> None:
        """Send it once. Raises `Transient` with what the service's client said, its secrets left out."""
        result = self._apprise.notify(
            body=message.text,
            title=message.subject,
            notify_type=apprise.NotifyType.WARNING,
            body_format=apprise.NotifyFormat.TEXT,
            timeout=SEND_SECONDS,
            log_level=logging.DEBUG,
        )
        if result:
            return
        said = "; ".join(
            entry.message
            for one in result
            for attempt in one.attempts
            for entry in attempt.logs
            if entry.level != "DEBUG" or entry.message.startswith(_REASON)
        )
        for secret in self._secrets:
            said = said.replace(secret, "***")
        raise Transient(f"{self.name} did not take the notice: {said[:_DETAIL] or 'no reason given'}")


class FileTarget:
    """A file of JSON lines, for a machine without a mail server. A message that is in it is not written again."""

    name = "file"

    def __init__(self, path: Path) -> None:
        self._path = path

    def send(self, message: Message) -> None:
        """Append the message unless a whole line of the file has its id. On disk when it returns."""
        line = json.dumps(
            {"id": message.id, "subject": message.subject, "text": message.text} | dict(message.facts),
            ensure_ascii=False,
            default=str,
        )
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a+b") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                file.seek(0)
                text = file.read()
                whole = text.rfind(b"\n") + 1
                if whole < len(text):
                    # What a crash left of a line; its message is still due.
                    file.truncate(whole)
                if any(_id_of(each) == message.id for each in text[:whole].splitlines()):
                    return
                file.write(line.encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise Transient(f"{self._path} could not be written: {error}") from error


def _keep_to_ourselves() -> None:
    """apprise tells the reason of a failure at debug level only, beside whole messages: so none of it goes further."""
    logger = logging.getLogger("apprise")
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())


def _id_of(line: bytes) -> str | None:
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value.get("id") if isinstance(value, dict) else None


def _secrets(url: str) -> list[str]:
    """What of a URL must not reach an error text: user, password, tokens of the path, values of the query."""
    parts = urlsplit(url)
    pieces = [parts.password or "", parts.username or "", *parts.path.split("/")]
    pieces += [value for _, value in parse_qsl(parts.query)]
    if parts.scheme == "slack":
        pieces.append(parts.netloc)
    return sorted({piece for piece in pieces if len(piece) >= 4}, key=len, reverse=True)
