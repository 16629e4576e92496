"""What an alert says: what is wrong, why, what to do and where that is written; and when it is over, what ended it.

Delivering it is `core/quota/outbox.py`'s. Error texts come from anywhere: no mark-up of theirs reaches a chat.
"""

from datetime import datetime

from content_orchestration.core.database import Row
from content_orchestration.core.quota.notice_text import Message, plain

_MOST_REASON = 1200
_BEGINS = {"open": "ALERT", "resolved": "Resolved", "closed": "Closed"}


def message_of(row: Row) -> Message:
    """The alert in words, and as facts for receivers that read JSON. The id differs between beginning and end."""
    phase, opened = row["phase"], row["opened_at"]
    message_id = f"alert-{row['id']}-{phase}-{opened:%Y%m%dT%H%M%S.%fZ}"
    if phase == "open":
        lines = [
            plain_reason(row["reason"]),
            f"Next: {row['next_step']}",
            f"Runbook: {row['link']}",
            "",
            f"Since {_moment(opened)}. This is told once; a message follows when it is over.",
        ]
    else:
        lines = [
            f"{'Over' if phase == 'resolved' else 'No longer watched'}: {plain(row['ended_by'])}.",
            f"It began {_moment(opened)}, ended {_moment(row['ended_at'])} ({_duration(row['ended_at'], opened)}).",
            f"It was seen {_times(row['occurrences'])}.",
            f"It was: {plain_reason(row['reason'])}",
        ]
    facts = {
        "alert_id": row["id"],
        "kind": row["kind"],
        "about": row["subject"],
        "phase": phase,
        "cause": row["cause"],
        "partitions": sorted(scope for scope in row["scopes"] if scope)[:20],
        "occurrences": row["occurrences"],
        "opened_at": opened.isoformat(),
        "ended_at": row["ended_at"].isoformat() if row["ended_at"] else None,
        "runbook": row["link"],
    }
    subject = f"{_BEGINS[phase]}: {plain(row['summary'])}"
    return Message(message_id, subject, "\n".join([*lines, "", f"Alert {message_id}."]), facts)


def plain_reason(text: str) -> str:
    """A text of others in one line of bounded length, without what a chat could take for a mention or mark-up."""
    flat = " ".join("".join(" " if char in "<>" or not char.isprintable() else char for char in text).split())
    return flat if len(flat) <= _MOST_REASON else f"{flat[:_MOST_REASON]} …"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count:,} times"


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def _duration(end: datetime, start: datetime) -> str:
    minutes = max(0, round((end - start).total_seconds() / 60))
    if minutes < 60:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min" if minutes < 2 * 24 * 60 else f"{minutes // 1440} days"
