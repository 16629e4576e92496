"""Asks a provider whether it takes a key, by a request that costs nothing: the list of its models."""

from content_orchestration.core.errors import Transient
from content_orchestration.core.generation.keys.model import KeyRefused, ProviderKey
from content_orchestration.resources.llm_engine import LlmEngine
from content_orchestration.resources.llm_http import Call, calling

_ADDRESSES = {"openai": "/models", "anthropic": "/v1/models?limit=1"}
_HEADERS = {"openai": {}, "anthropic": {"anthropic-version": "2023-06-01"}}
_REFUSED = (401, 403)


def probe(engine: LlmEngine, key: ProviderKey, timeout: float = 15.0) -> None:
    """Return where the provider takes the key; raise `KeyRefused` where not, `Transient` for any other answer."""

    async def ask() -> int:
        with calling(Call(key.secret, lambda status, headers: None)):
            address = engine.base_urls[key.provider].rstrip("/") + _ADDRESSES[key.provider]
            answer = await engine.client(key.provider).get(address, headers=_HEADERS[key.provider])
            return answer.status_code

    status = None
    try:
        status = engine.run(ask, timeout)
    except Exception as error:  # noqa: BLE001  (a library's error may hold the key: only its kind goes on)
        trouble = type(error).__name__
    if status is None:
        raise Transient(f"{key.provider} could not be asked about the key ({trouble}): it waits; try again")
    if status in _REFUSED:
        raise KeyRefused(
            f"{key.provider} does not take this key (status {status}): it was not put in use. Copy it again from the "
            "provider, or make one that may use models"
        )
    if status != 200:
        raise Transient(f"{key.provider} answered {status} when asked about the key: it waits; try again")
