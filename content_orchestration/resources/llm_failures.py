"""What the libraries' errors mean: a failure's category and a message of ours that says what to do.

Nothing of a library's error is kept, neither its text whole nor itself as a cause: both may hold headers and echoes.
"""

import re

from pydantic import SecretStr

from content_orchestration.core.generation.model import FailureCategory
from content_orchestration.core.generation.provider import ProviderFailure, Usage

_VARIABLES = {"openai": "OPENAI_API_KEY", "anthropic": "ANTHROPIC_API_KEY"}
_POLICY = re.compile(r"content.?(policy|filter)|moderation|usage polic|safety system", re.IGNORECASE)
_KEY_LIKE = re.compile(r"(?i)\b(sk-|bearer\s+|key[=:\s]+)\S+")
_MOST_DETAIL = 200
_DETAIL_FIELDS = ("message", "type", "code")


class KeyNotAccepted(ProviderFailure):
    """The provider does not take the key that the call was made with."""


def classified(
    error: Exception,
    *,
    provider: str,
    model: str,
    secret: SecretStr,
    own_key: bool,
    timeout: float,
    usage: Usage | None,
    cut_short: bool = False,
) -> ProviderFailure:
    """The failure that a library's error or a TimeoutError stands for.

    `own_key`: the tenant brought the key. `cut_short`: the answer reached its token limit.
    """
    from pydantic_ai import exceptions as told

    def failure(category: FailureCategory, message: str, retry_after: float | None = None) -> ProviderFailure:
        return ProviderFailure(
            category, f"{provider} {message}", provider=provider, retry_after=retry_after, usage=usage
        )

    detail = _detail(error, secret)
    match error:
        case TimeoutError() | told.ModelRequestTimeout() | told.ModelTimeoutError():
            return failure(
                FailureCategory.timeout,
                f"gave no whole answer within {timeout:.3g} s, and whether it is billed is not known: it is tried "
                "again; raise GENERATION_TIMEOUT where the texts are long",
            )
        case told.ModelRateLimitError():
            return failure(
                FailureCategory.rate_limit,
                "refused the call for its rate limit: all workers wait as long as it asked, then one goes ahead",
                error.retry_after,
            )
        case told.ModelQuotaExceededError():
            whose = "the tenant's account" if own_key else "the account"
            return failure(
                FailureCategory.quota, f"says that the quota or credit of {whose} is used up: top it up{detail}"
            )
        case told.ModelAuthenticationError():
            what = (
                "the tenant's key: bring a new one (python -m content_orchestration.resources.llm_keys bring)"
                if own_key
                else f"the key in {_VARIABLES.get(provider, 'its variable')}: set one that is valid and may use {model}"
            )
            return KeyNotAccepted(
                FailureCategory.invalid_request, f"{provider} does not accept {what}", provider=provider, usage=usage
            )
        case told.ModelNotFoundError():
            return failure(
                FailureCategory.invalid_request,
                f"knows no model {model} for this key: correct GENERATION_PROVIDERS, or ask for access to it",
            )
        case told.ContentFilterError():
            return failure(
                FailureCategory.content_policy, f"refused the topic by its content policy: reword it{detail}"
            )
        case told.ModelRequestRejectedError() if _POLICY.search(_said(error)):
            return failure(
                FailureCategory.content_policy, f"refused the topic by its content policy: reword it{detail}"
            )
        case told.ModelRequestRejectedError():
            return failure(FailureCategory.invalid_request, f"rejected the request: correct it{detail}")
        case told.UnexpectedModelBehavior() if cut_short:
            return failure(
                FailureCategory.provider,
                "stopped in the middle of the text at its token limit: raise GENERATION_ANSWER_LIMIT, or ask for fewer "
                "words",
            )
        case told.UnexpectedModelBehavior():
            return failure(FailureCategory.provider, f"answered in another form than asked: it is tried again{detail}")
        case told.ModelConnectionError():
            return failure(
                FailureCategory.provider,
                "could not be reached or cut the connection, and whether the call is billed is not known: it is tried "
                "again",
            )
        case told.ModelAPIError():
            status = f" with status {error.status_code}" if isinstance(error, told.ModelHTTPError) else ""
            return failure(FailureCategory.provider, f"failed{status}: it is tried again{detail}", error.retry_after)
        case _:
            return failure(
                FailureCategory.unknown,
                f"failed in a way that is not known ({type(error).__name__}): it is tried again",
            )


def _detail(error: Exception, secret: SecretStr) -> str:
    """The provider's own words, short, on one line, and without anything that looks like a key."""
    said = _said(error)
    if secret.get_secret_value():
        said = said.replace(secret.get_secret_value(), "[key]")
    said = " ".join(_KEY_LIKE.sub("[key]", said).split())
    return f" ({said[:_MOST_DETAIL]})" if said else ""


def _said(error: Exception) -> str:
    """Message, type and code of the provider's error body; the library's text where there is no body."""
    body = getattr(error, "body", None)
    if isinstance(body, dict):
        inner = body.get("error")
        fields = inner if isinstance(inner, dict) else body
        return "; ".join(str(fields[name]) for name in _DETAIL_FIELDS if fields.get(name))
    # Without `str`: that of some errors has the whole answer in it.
    return str(getattr(error, "message", "")) if getattr(error, "status_code", None) is None else ""
