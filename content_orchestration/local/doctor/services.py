"""Providers of texts, tenants' master key, targets of notices: judged by what they look like. Nobody is called."""

import re
from collections.abc import Iterator

from content_orchestration.core.errors import Permanent
from content_orchestration.core.operations.doctor import Finding, ok, problem, warning
from content_orchestration.settings import Settings

# What keys of the providers' own services look like; a server of one's own (…_BASE_URL) may take any.
_SHAPES = {
    "openai": re.compile(r"sk-(?!ant-)[A-Za-z0-9_-]{17,}"),
    "anthropic": re.compile(r"sk-ant-[A-Za-z0-9_-]{13,}"),
}
_PLAIN = re.compile(r"[\x21-\x7e]+")


def providers(settings: Settings) -> Iterator[Finding]:
    """Whether each provider in the order has a key, and whether the key can be one."""
    brought = bool(settings.provider_master_key.get_secret_value())
    addresses = {"openai": settings.openai_base_url, "anthropic": settings.anthropic_base_url}
    named = {name for name, _ in settings.generation_chain} - {"template"}
    for name in ("openai", "anthropic"):
        variable, key = f"{name.upper()}_API_KEY", settings.provider_key(name).get_secret_value()
        if not key:
            if name in named and not brought:
                yield problem(
                    variable, f"is empty, and GENERATION_PROVIDERS names {name}: no text can be written",
                    f"set {variable}, or PROVIDER_MASTER_KEY for tenants that bring their own",
                )  # fmt: skip
            elif name in named:
                yield warning(
                    variable, "is empty: only tenants that brought a key are served", f"set {variable} for the others"
                )
        elif not _PLAIN.fullmatch(key):
            yield problem(variable, "holds a blank, a line end or a quote of another alphabet", "copy it again")
        elif not addresses[name] and not _SHAPES[name].fullmatch(key):
            yield problem(
                variable, f"does not look like a key of {name} (length {len(key)})",
                "copy it again; OpenAI's begin with sk-, Anthropic's with sk-ant-",
            )  # fmt: skip
        else:
            yield ok(variable, "is set and looks like a key; whether it is taken shows with the first call")
    if not named:
        yield ok("generation", "the template provider, which needs no key")


def master_key(settings: Settings) -> Iterator[Finding]:
    """Whether the tenants' keys can be opened with it, as far as its shape says."""
    from content_orchestration.core.generation.keys.master import EnvironmentMasterKey

    text = settings.provider_master_key.get_secret_value()
    if not text:
        yield ok("PROVIDER_MASTER_KEY", "is empty: tenants bring no keys")
        return
    try:
        yield ok("PROVIDER_MASTER_KEY", f"current key {EnvironmentMasterKey.parse(text).current_id}")
    except Permanent as error:
        text, _, way_out = str(error).partition(": ")
        yield problem("PROVIDER_MASTER_KEY", text, way_out)


def notifier(settings: Settings) -> Iterator[Finding]:
    """Whether each address of notices can be read. Nothing is sent."""
    urls = settings.notify_urls.get_secret_value().split()
    if not urls:
        yield ok("notices", f"go to {settings.local_state_dir / 'notices.jsonl'}")
        return
    # apprise takes half a second to import.
    from content_orchestration.resources.notifier_targets import AppriseTarget

    allowed, names, faults = frozenset(settings.notify_schemes.split()), [], 0
    for place, url in enumerate(urls):
        try:
            names.append(AppriseTarget(url, allowed).name)
        except Permanent as error:
            faults += 1
            text, _, way_out = str(error).partition(": ")
            yield problem("notices", f"URL {place + 1} of NOTIFY_URLS: {text}", way_out)
    if not faults:
        yield ok("notices", f"{len(names)} targets can be read: {', '.join(sorted(set(names)))}")
