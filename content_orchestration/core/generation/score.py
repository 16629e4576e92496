"""The counts and the score that every generated item carries. Rules only; who generated the item does not matter."""

import re
from collections.abc import Sequence

_WORD = re.compile(r"\w+(?:['\u2019-]\w+)*")
_HEADING = re.compile(r"^#{2,6}\s+\S", re.MULTILINE)

TITLE_CHARACTERS = range(30, 66)
LONG_ENOUGH_WORDS = 300
KEYWORD_SHARE = (0.005, 0.03)


def word_count(text: str) -> int:
    """Words of a Markdown text: runs of letters and digits, an apostrophe or hyphen inside one included."""
    return len(_WORD.findall(text))


def seo_score(title: str, body: str, keywords: Sequence[str]) -> int:
    """How well a text is prepared for search engines, 0 to 100, by a rule that anybody can check by hand.

    | points | for |
    |---|---|
    | 20 | a title of 30 to 65 characters |
    | 20 | the first keyword in the title |
    | 15 | the first keyword in the first 100 words of the body |
    | 15 | the first keyword making up 0.5 to 3 % of the body's words |
    | 10 | every other keyword somewhere in the body, in proportion |
    | 10 | at least two headings (`##` to `######`) |
    | 10 | at least 300 words, in proportion below that |

    Without a keyword the four points about keywords count nothing, so such a text reaches at most 40. Upper and lower
    case are the same; a keyword counts where it stands as whole words.
    """
    words = word_count(body)
    score = 20.0 * (len(title.strip()) in TITLE_CHARACTERS)
    score += 10.0 * (len(_HEADING.findall(body)) >= 2)
    score += 10.0 * min(1.0, words / LONG_ENOUGH_WORDS)
    wanted = [keyword.strip() for keyword in keywords if keyword.strip()]
    if wanted:
        first, *others = wanted
        score += 20.0 * bool(_count(first, title))
        score += 15.0 * bool(_count(first, _opening(body)))
        share = _count(first, body) * word_count(first) / words if words else 0.0
        score += 15.0 * (KEYWORD_SHARE[0] <= share <= KEYWORD_SHARE[1])
        score += 10.0 * (sum(bool(_count(other, body)) for other in others) / len(others) if others else 1.0)
    return round(score)


def _opening(body: str) -> str:
    found = list(_WORD.finditer(body))
    return body if len(found) <= 100 else body[: found[99].end()]


def _count(keyword: str, text: str) -> int:
    return len(re.findall(rf"(?<!\w){re.escape(keyword)}(?!\w)", text, re.IGNORECASE))
