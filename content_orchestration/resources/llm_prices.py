"""What calls of models cost: prices that a person set, else the table of `genai-prices`. Never silently nothing."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from content_orchestration.core.errors import Permanent

_MILLION = Decimal(1_000_000)
_PRICE = re.compile(r"(?P<model>[^\s=]+)=(?P<input>\d+(\.\d+)?)/(?P<output>\d+(\.\d+)?)")
VARIABLE = "GENERATION_PRICES"


@dataclass(frozen=True)
class Tokens:
    """What a provider counted. Cached tokens are part of `input`."""

    input: int = 0
    output: int = 0
    cache_read: int = 0
    cache_write: int = 0


@dataclass(frozen=True)
class Price:
    """US dollars for a million tokens."""

    input: Decimal
    output: Decimal


class ModelPrice:
    """The price of one model of one provider. Made before the first call, so that no call is made at unknown cost."""

    def __init__(self, provider: str, model: str, given: Price | None = None) -> None:
        self._provider, self._model, self._given = provider, model, given
        if given is None:
            self._known_to_the_table()

    def cost(self, tokens: Tokens) -> Decimal:
        """What a call cost in US dollars, to a millionth of a cent."""
        if self._given is not None:
            exact = (tokens.input * self._given.input + tokens.output * self._given.output) / _MILLION
        else:
            exact = self._table(tokens)
        return exact.quantize(Decimal("0.00000001"))

    def _known_to_the_table(self) -> None:
        try:
            known = self._table(Tokens(1000, 1000)) > 0
        except LookupError:
            known = False
        if not known:
            raise Permanent(
                f"the cost of {self._provider}:{self._model} is not known, so it is not used: see that "
                f"GENERATION_PROVIDERS names the model right, or set its price in US dollars for a million tokens, as "
                f"in {VARIABLE}={self._model}=0.25/2 (input/output)"
            )

    def _table(self, tokens: Tokens) -> Decimal:
        import genai_prices

        usage = genai_prices.Usage(
            input_tokens=tokens.input,
            output_tokens=tokens.output,
            cache_read_tokens=tokens.cache_read,
            cache_write_tokens=tokens.cache_write,
        )
        return genai_prices.calc_price(usage, self._model, provider_id=self._provider).total_price


def prices_given(text: str) -> Mapping[str, Price]:
    """The prices of the setting: `model=input/output`, separated by blanks. Raises ValueError that shows the entry."""
    given = {}
    for entry in text.split():
        found = _PRICE.fullmatch(entry)
        if not found:
            raise ValueError(f"{VARIABLE} has {entry!r}: write model=input/output in US dollars for a million tokens")
        given[found["model"]] = Price(Decimal(found["input"]), Decimal(found["output"]))
    return given
