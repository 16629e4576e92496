"""The targets of notices as a Dagster resource. What a target does is in `notifier_targets.py`."""

from collections.abc import Sequence

import dagster as dg

from content_orchestration.core.quota.notice_text import Target
from content_orchestration.settings import get_settings

FILE = "notices.jsonl"


class NotifierResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Who hears of notices: `NOTIFY_URLS`, or the file `notices.jsonl` in `LOCAL_STATE_DIR` where none is set.

    The URLs are secrets and never pass through Dagster: they are read when the targets are made.
    """

    def targets(self) -> Sequence[Target]:
        """Every target. Raises `Permanent` for a URL that is not allowed or not readable; sends nothing."""
        from content_orchestration.resources.notifier_targets import AppriseTarget, FileTarget

        settings = get_settings()
        urls = settings.notify_urls.get_secret_value().split()
        if not urls:
            return [FileTarget(settings.local_state_dir / FILE)]
        allowed = frozenset(settings.notify_schemes.split())
        made = {target.name: target for target in (AppriseTarget(url, allowed) for url in urls)}
        return list(made.values())
