"""Tags of the local tagger, and the rule that a tagger's failure is never the upload's."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from content_orchestration.core.errors import Permanent, Transient
from content_orchestration.core.media.colours import Colour
from content_orchestration.core.media.describe import Described
from content_orchestration.core.media.heuristic import colour_name, filename_words
from content_orchestration.core.media.tags import MOST_TAGS, HeuristicTagger, Tag, Tagging, as_tags, tag

SEA = Described("image", "jpeg", "image/jpeg", 9, 3000, 1000, colours=(Colour("#1060d0", 0.6), Colour("#f5f5f5", 0.3)))
PICTURE = Path("variant.jpg")


def names(described: Described, filename: str) -> list[str]:
    return [one.name for one in HeuristicTagger().tags(described, filename)]


@pytest.mark.parametrize(
    ("colour", "name"),
    [
        ("#000000", "black"), ("#ffffff", "white"), ("#808080", "grey"), ("#ff0000", "red"), ("#ff0010", "red"),
        ("#ff8800", "orange"), ("#ffee00", "yellow"), ("#00cc22", "green"), ("#00bbcc", "cyan"), ("#1133ee", "blue"),
        ("#7711ee", "purple"), ("#ff44aa", "pink"), ("#7a4a20", "brown"), ("#f4f4f6", "white"), ("#101010", "black"),
    ],
)  # fmt: skip
def test_names_of_colours(colour: str, name: str) -> None:
    assert colour_name(colour) == name


@given(st.integers(0, 0xFFFFFF))
def test_every_colour_has_a_name(number: int) -> None:
    assert colour_name(f"#{number:06x}").isalpha()


@pytest.mark.parametrize(
    ("filename", "words"),
    [
        ("IMG_20240506_070809.jpg", []),
        ("DSC01234.JPG", []),
        ("3f2504e0-4f89-11d3-9a0c-0305e82c3301.png", []),
        ("9f86d081884c7d659a2feaa0c55ad015.webp", []),
        ("summer-beach_party (2).jpeg", ["summer", "beach", "party"]),
        ("sommerFestKöln.png", ["sommer", "fest", "köln"]),
        ("path/to/red-apple-final-v2.jpg", ["red", "apple"]),
        ("no_extension", ["extension"]),
        ("海の写真集.jpg", ["海の写真集"]),
        ("x" * 60 + ".jpg", []),
        ("", []),
        (".jpg", []),
    ],
)
def test_words_of_a_file_name(filename: str, words: list[str]) -> None:
    assert filename_words(filename) == words


def test_tags_come_from_shape_colours_and_name() -> None:
    found = HeuristicTagger().tags(SEA, "Beach-Party.jpg")
    assert {one.name for one in found} == {"panorama", "blue", "white", "beach", "party"}
    assert {one.source for one in found} == {"heuristic"}
    assert [one.confidence for one in found] == sorted((one.confidence for one in found), reverse=True)
    assert found[0] == Tag("panorama", "heuristic", 0.9)
    assert names(Described("image", "png", "image/png", 9, 5, 5, 3, has_alpha=True), "") == [
        "square", "animation", "transparent",
    ]  # fmt: skip
    night = Described("image", "png", "image/png", 9, 5, 4, colours=(Colour("#050505", 0.8), Colour("#777777", 0.1)))
    assert {"monochrome", "dark", "black"} < set(names(night, ""))
    assert "grey" not in names(night, ""), "a tenth of the picture is not its colour"
    snow = Described("image", "png", "image/png", 9, 5, 4, colours=(Colour("#ffffff", 0.9),))
    assert "bright" in names(snow, "")
    assert names(Described("video", "mp4", "video/mp4", 9), "clip_holiday.mp4") == ["video", "mp4", "holiday"]


def test_tags_are_clean_few_and_unique() -> None:
    given = [
        ("  Two\nWords ", 0.5),
        ("two words", 0.9),
        ("<b>Bold</b>", 2.0),
        ("x", 1),
        ("y" * 41, 1),
        ("under_score", -1),
    ]
    assert as_tags(given, "vision") == (
        Tag("b bold b", "vision", 1.0),
        Tag("two words", "vision", 0.5),
        Tag("under score", "vision", 0.0),
    )
    assert len(as_tags(((f"tag {n}", 0.5) for n in range(100)), "vision")) == MOST_TAGS


@given(st.text(max_size=300))
def test_any_file_name_gives_clean_tags(filename: str) -> None:
    for one in HeuristicTagger().tags(SEA, filename):
        assert one.name == one.name.lower().strip()
        assert 2 <= len(one.name) <= 40
        assert "\0" not in one.name
        assert "<" not in one.name


class Model:
    """A vision model that answers, or fails, as it is told."""

    name = "model"

    def __init__(self, answer: tuple[Tag, ...] | Exception) -> None:
        self._answer = answer

    def tags(self, described: Described, filename: str, picture: Path | None) -> tuple[Tag, ...]:
        assert (described, filename, picture) == (SEA, "beach.jpg", PICTURE)
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer


def test_seen_tags_come_before_guessed_ones() -> None:
    seen = Tag("beach", "vision", 0.97), Tag("boat", "vision", 0.6)
    found = tag(SEA, "beach.jpg", PICTURE, Model(seen))
    assert found.tags[:2] == seen
    assert [one.name for one in found.tags].count("beach") == 1
    assert (found.tagger, found.retry, found.reason) == ("model", False, None)
    assert found.tags[-1].source == "heuristic"


def test_a_failure_leaves_the_local_tags_and_says_whether_to_retry() -> None:
    local = HeuristicTagger().tags(SEA, "beach.jpg")
    assert tag(SEA, "beach.jpg", PICTURE, Model(Transient("busy"))) == Tagging(local, "heuristic", True, "busy")
    assert tag(SEA, "beach.jpg", PICTURE, Model(Permanent("no"))) == Tagging(local, "heuristic", False, "no")


def test_without_a_model_or_a_picture_nothing_is_missing() -> None:
    assert tag(SEA, "beach.jpg", PICTURE, None) == Tagging(HeuristicTagger().tags(SEA, "beach.jpg"), "heuristic")
    film = Described("video", "mp4", "video/mp4", 9)
    assert not tag(film, "beach.mp4", None, Model(Transient("never asked"))).retry
