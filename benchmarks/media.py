"""Four variants of 6-megapixel photographs, ours beside plain Pillow and pyvips; then the seconds from upload to ready.

`python -m benchmarks.media` prints one JSON line last. Ours is the whole of `ImageWorker.process`: header check, decode
in the watched child, four JPEGs on disk with their hashes, colours, perceptual hash. The peers only write their files.
Rates are by the clock, ratios by CPU seconds of all processes, medians of interleaved rounds.
"""

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from benchmarks.scratch import Measured, measured, print_result, say, scratch_folder, scratch_stack
from content_orchestration.core.media.variants import VariantSettings
from content_orchestration.core.media.worker import ImageWorker

WIDTH, HEIGHT = 3_000, 2_000
SOURCES = 12
_ROUNDS = 5
_SETTINGS = VariantSettings()


def photographs(folder: Path) -> None:
    """Pictures with the statistics of photographs: soft light, structure at every scale, grain; about 2.4 MB each."""
    import pyvips

    for number in range(SOURCES):
        picture = None
        for octave, (cells, strength) in enumerate(((4, 60), (12, 45), (40, 35), (150, 25), (600, 16), (2_400, 7))):
            rows = max(2, cells * HEIGHT // WIDTH)
            seed = 1_000 * number + 10 * octave
            light, red, blue = (
                pyvips.Image.gaussnoise(cells, rows, mean=0, sigma=strength, seed=seed + band) for band in range(3)
            )
            layer = light.bandjoin([light + red * 0.25, light + blue * 0.25])
            layer = layer.resize(WIDTH / cells, vscale=HEIGHT / rows, kernel="cubic")
            picture = layer if picture is None else picture + layer
        assert picture is not None
        picture = (picture + 128).cast("uchar").copy(interpretation="srgb")
        picture.jpegsave(str(folder / f"{number}.jpg"), Q=92)


# --- one engine, in a process of its own -----------------------------------------------------------------------------


def ours(sources: list[Path], out: Path) -> float:
    """Each source through the worker; CPU seconds of this process and of the child."""
    with ImageWorker() as images:
        images.process(sources[0], out, _SETTINGS)
        child = psutil.Process(images.child_pid)
        before = child.cpu_times()
        own = time.process_time()
        began = time.perf_counter()
        for source in sources:
            done = images.process(source, out, _SETTINGS)
            assert done.failed is None
            assert done.engine == "vips"
            assert len(done.variants) == 4
        _tell(began)
        after = child.cpu_times()
        return time.process_time() - own + after.user + after.system - before.user - before.system


def pillow(sources: list[Path], out: Path) -> float:
    """Plain Pillow: open, resize and save for each width."""
    from PIL import Image

    def each(source: Path) -> None:
        for width in _SETTINGS.sizes:
            with Image.open(source) as image:
                small = image.resize((width, round(HEIGHT * width / WIDTH)), Image.Resampling.LANCZOS)
                small.save(out / f"{width}.jpg", quality=_SETTINGS.quality)

    return _timed(sources, each)


def vips_per_width(sources: list[Path], out: Path) -> float:
    """The pyvips idiom: `thumbnail` from the file for each width, with its own shrink-on-load."""
    import pyvips

    pyvips.cache_set_max(0)
    # As many threads as ours has.
    pyvips.concurrency_set(1)

    def each(source: Path) -> None:
        for width in _SETTINGS.sizes:
            small = pyvips.Image.thumbnail(str(source), width)
            small.jpegsave(str(out / f"{width}.jpg"), Q=_SETTINGS.quality, keep="icc")

    return _timed(sources, each)


def _timed(sources: list[Path], each: Callable[[Path], None]) -> float:
    each(sources[0])
    own, began = time.process_time(), time.perf_counter()
    for source in sources:
        each(source)
    _tell(began)
    return time.process_time() - own


def _tell(began: float) -> None:
    print(time.perf_counter() - began)


ENGINES: dict[str, Callable[[list[Path], Path], float]] = {
    "ours": ours,
    "pillow": pillow,
    "vips_per_width": vips_per_width,
}


def run_engine(name: str, folder: Path) -> None:
    """What the benchmark's own children do: one engine over all sources, its seconds and CPU seconds on stdout."""
    out = folder / f"out-{os.getpid()}"
    out.mkdir()
    cpu = ENGINES[name](sorted(folder.glob("*.jpg")), out)
    print(json.dumps(cpu))


# --- all of them -----------------------------------------------------------------------------------------------------


def compare(folder: Path) -> dict[str, float]:
    """Interleaved rounds of every engine over the same sources."""
    photographs(folder)
    wall: dict[str, list[float]] = {name: [] for name in ENGINES}
    cpu: dict[str, list[float]] = {name: [] for name in ENGINES}
    rss: dict[str, float] = dict.fromkeys(ENGINES, 0.0)
    for _ in range(_ROUNDS):
        for name in ENGINES:
            done: Measured = measured([sys.executable, "-m", "benchmarks.media", "--engine", name, "--folder", folder])
            seconds, used = (float(line) for line in done.output.split())
            wall[name].append(SOURCES / seconds)
            cpu[name].append(SOURCES / used)
            rss[name] = max(rss[name], done.peak_rss_mib)
    rate = {name: statistics.median(cpu[name]) for name in ENGINES}
    for name in ENGINES:
        say(
            f"{name}: {statistics.median(wall[name]):.1f} sources/s by the clock, {rate[name]:.1f} a CPU second, "
            f"{rss[name]:.0f} MiB"
        )
    return {
        "sources_per_s": round(statistics.median(wall["ours"]), 1),
        "vs_pillow": round(rate["ours"] / rate["pillow"], 2),
        "vs_vips_per_width": round(rate["ours"] / rate["vips_per_width"], 2),
        "rss_mib": round(rss["ours"]),
    }


def main() -> None:
    """Run the comparison, then the whole path, and print the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine", choices=ENGINES, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.engine:
        run_engine(given.engine, given.folder)
        return
    # The engines' own processes do not hold Google's libraries.
    from benchmarks.media_ready import p95, upload_to_ready

    with scratch_folder() as folder:
        result = compare(folder)
        sources = sorted(folder.glob("*.jpg"))
        uploads = folder / "uploads"
        uploads.mkdir()
        with scratch_stack(folder) as settings:
            seconds = upload_to_ready(settings, [*sources, *sources], uploads)
    print_result({"name": "media", **result, "upload_to_ready_s_p95": p95(seconds)})


if __name__ == "__main__":
    main()
