"""The child that decodes: killed for memory, for time and for nothing at all, and the next file always works."""

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from PIL import Image

from content_orchestration.core import media
from content_orchestration.core.errors import Transient
from content_orchestration.core.media import child, decode_pillow, decode_vips, watch, worker
from content_orchestration.core.media.variants import VariantSettings
from content_orchestration.core.media.watch import Died, OutOfMemory, OutOfTime, WatchedPipe, resident_bytes
from content_orchestration.core.media.worker import ImageWorker
from content_orchestration.resources.media_images import image_worker, picture_limits, variant_settings
from content_orchestration.settings import Settings
from content_orchestration_tests import media_files as made

SMALL = VariantSettings((40, 80))


@pytest.fixture
def good(tmp_path: Path) -> Path:
    path = tmp_path / "good"
    path.write_bytes(made.encoded(made.corners(), "JPEG"))
    return path


def test_too_much_memory_ends_the_child_not_the_run(good: Path, tmp_path: Path) -> None:
    poster = Image.effect_noise((500, 500), 60).resize((5_000, 4_000), Image.Resampling.NEAREST).convert("RGB")
    path = tmp_path / "hungry"
    path.write_bytes(made.encoded(poster, "WEBP", quality=10, method=0))
    with ImageWorker(memory_mib=90) as images:
        assert images.process(good, tmp_path, SMALL).failed is None
        before = images.child_pid
        done = images.process(path, tmp_path, SMALL)
        assert done.failed is not None
        assert (done.failed.code, done.failed.again) == ("memory", False)
        assert "90 MiB" in done.failed.message
        assert done.described is not None
        assert done.described.width == 5_000
        assert images.process(good, tmp_path, SMALL).failed is None
        assert images.child_pid != before
    with ImageWorker() as images:
        done = images.process(path, tmp_path, SMALL)
        assert done.failed is None, "with more memory it can be decoded"


def test_a_child_that_is_seen_to_hold_too_much_is_ended(
    good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ImageWorker() as images:
        assert images.process(good, tmp_path, SMALL).failed is None
        before = images.child_pid
        monkeypatch.setattr(watch, "resident_bytes", lambda pid: 2**40)
        done = images.process(good, tmp_path, SMALL)
        assert done.failed is not None
        assert done.failed.code == "memory"
        assert before is not None
        assert not psutil.pid_exists(before)
        monkeypatch.undo()
        assert images.process(good, tmp_path, SMALL).failed is None


def test_a_child_that_holds_too_much_is_noticed(tmp_path: Path) -> None:
    code = "import sys; sys.stdin.readline(); held = b'x' * 300_000_000; import time; time.sleep(60)"
    with piped(code) as pipe:
        began = time.monotonic()
        with pytest.raises(OutOfMemory):
            pipe.ask({}, 60)
        assert time.monotonic() - began < 20


def test_too_much_time_ends_the_child_not_the_run(good: Path, tmp_path: Path) -> None:
    with ImageWorker(timeout_s=1.0) as images:
        assert images.process(good, tmp_path, SMALL).failed is None
        stuck = images.child_pid
        assert stuck is not None
        os.kill(stuck, signal.SIGSTOP)
        done = images.process(good, tmp_path, SMALL)
        assert done.failed is not None
        assert (done.failed.code, done.failed.again) == ("time", True)
        assert not psutil.pid_exists(stuck)
        images._timeout = 60.0
        assert images.process(good, tmp_path, SMALL).failed is None


@pytest.mark.parametrize("name", ["SIGKILL", "SIGSEGV", "SIGABRT"])
def test_a_crash_in_the_middle_is_the_files_and_the_next_one_works(name: str, good: Path, tmp_path: Path) -> None:
    with ImageWorker() as images:
        assert images.process(good, tmp_path, SMALL).failed is None
        pid = images.child_pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)

        def crash() -> None:
            # Stopped, it takes the order but cannot answer before the signal comes.
            time.sleep(0.2)
            os.kill(pid, getattr(signal, name))
            os.kill(pid, signal.SIGCONT)

        thread = threading.Thread(target=crash)
        thread.start()
        done = images.process(good, tmp_path, SMALL)
        thread.join()
        assert done.failed is not None
        assert (done.failed.code, done.failed.again) == ("crashed", True)
        assert name in done.failed.message
        assert images.process(good, tmp_path, SMALL).failed is None


def test_a_child_that_died_between_two_files_costs_neither(good: Path, tmp_path: Path) -> None:
    with ImageWorker() as images:
        images.process(good, tmp_path, SMALL)
        pid = images.child_pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        psutil.Process(pid).wait(10)
        assert images.process(good, tmp_path, SMALL).failed is None


def test_a_child_is_used_again_and_then_replaced(good: Path, tmp_path: Path) -> None:
    with ImageWorker(recycle_after=2) as images:
        pids = []
        for _ in range(5):
            assert images.process(good, tmp_path, SMALL).failed is None
            pids.append(images.child_pid)
    assert pids[0] == pids[1] != pids[2] == pids[3] != pids[4]
    assert not any(pid is not None and psutil.pid_exists(pid) for pid in pids)
    images.close()


def test_threads_may_share_a_worker(tmp_path: Path) -> None:
    with ImageWorker() as images, ThreadPoolExecutor(8) as pool:

        def work(number: int) -> tuple[int, int]:
            folder = tmp_path / str(number)
            folder.mkdir()
            (folder / "in").write_bytes(made.encoded(made.corners(100 + number, 100), "PNG"))
            done = images.process(folder / "in", folder, SMALL)
            assert done.described is not None
            assert all(one.path.parent == folder for one in done.variants)
            return number, done.described.width or 0

        assert all(width == 100 + number for number, width in pool.map(work, range(24)))


def test_a_child_outlives_its_worker_by_no_more_than_its_file(good: Path, tmp_path: Path) -> None:
    code = (
        "import os, pathlib, sys\n"
        "from content_orchestration.core.media.worker import ImageWorker\n"
        "from content_orchestration.core.media.variants import VariantSettings\n"
        "images = ImageWorker()\n"
        "images.process(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), VariantSettings((40,)))\n"
        "print(images.child_pid, flush=True)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(good), str(tmp_path)], capture_output=True, text=True)
    with suppress(psutil.NoSuchProcess):
        psutil.Process(int(done.stdout)).wait(30)


def test_the_child_knows_no_secret(good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    monkeypatch.setenv("DATABASE_PUBLIC_URL", "postgresql://u:secret@h/d")
    with ImageWorker() as images:
        assert images.process(good, tmp_path, SMALL).failed is None
        environment = psutil.Process(images.child_pid).environ()
        assert "secret" not in repr(environment)
        assert set(environment) <= {
            "LC_CTYPE", "PYTHONPATH", "VIPS_BLOCK_UNTRUSTED", "MALLOC_ARENA_MAX",
        }  # fmt: skip
        open_files = {one.path for one in psutil.Process(images.child_pid).open_files()}
        assert not open_files


def test_the_childs_limits_are_set(good: Path, tmp_path: Path) -> None:
    with ImageWorker(memory_mib=200) as images:
        assert images.process(good, tmp_path, SMALL).failed is None
        limits = psutil.Process(images.child_pid)
        assert limits.rlimit(psutil.RLIMIT_DATA)[1] == (200 + 50 + 64) * 1024**2
        assert limits.rlimit(psutil.RLIMIT_FSIZE)[1] == 64 * 1024**2
        assert limits.rlimit(psutil.RLIMIT_CORE)[1] == 0
        assert limits.rlimit(psutil.RLIMIT_NOFILE)[1] == 128


def test_a_child_that_does_not_start_is_the_machines_fault(
    good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = ImageWorker()
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    with pytest.raises(Transient, match="cannot be started"):
        images.process(good, tmp_path, SMALL)
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(Transient, match=r"does not start.*status 1"):
        images.process(good, tmp_path, SMALL)
    monkeypatch.undo()
    monkeypatch.setattr(worker, "_START_SECONDS", 0.0)
    with pytest.raises(Transient, match="OutOfTime"):
        images.process(good, tmp_path, SMALL)
    monkeypatch.undo()
    with images:
        assert images.process(good, tmp_path, SMALL).failed is None


# --- the pipe --------------------------------------------------------------------------------------------------------


class piped:  # noqa: N801  (reads as a function)
    """A pipe to a child that runs this code."""

    def __init__(self, code: str, memory_mib: int = 100) -> None:
        self._child = subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        self._pipe = WatchedPipe(self._child, memory_mib)

    def __enter__(self) -> WatchedPipe:
        return self._pipe

    def __exit__(self, *_: object) -> None:
        self._child.kill()
        self._child.wait()
        self._pipe.close()


def says(text: str) -> str:
    return f"import sys, time; sys.stdin.readline(); sys.stdout.write({text}); sys.stdout.flush(); time.sleep(60)"


@pytest.mark.parametrize(
    ("text", "error"),
    [(r"'no json\n'", Died), (r"'[1]\n'", Died), ("'x' * 1_100_000", Died), ("'{'", OutOfTime), ("''", OutOfTime)],
)
def test_an_answer_that_is_none(text: str, error: type[Exception]) -> None:
    with piped(says(text)) as pipe, pytest.raises(error):
        pipe.ask({"a": 1}, 30 if error is Died else 0.2)


def test_answers_come_in_pieces_and_in_order() -> None:
    code = (
        "import sys, time\n"
        "for line in sys.stdin:\n"
        "    for piece in ('{\"n\"', ': ', line.strip().split(':')[1][:-1], '}', chr(10)):\n"
        "        sys.stdout.write(piece); sys.stdout.flush(); time.sleep(0.02)\n"
    )
    with piped(code) as pipe:
        assert [pipe.ask({"n": number}, 30) for number in range(3)] == [{"n": number} for number in range(3)]


def test_a_child_that_is_gone_is_noticed_when_it_is_asked() -> None:
    with piped("pass") as pipe:
        for _ in range(2):
            with pytest.raises(Died):
                pipe.ask({"x": "y" * 100_000}, 30)


def test_the_memory_of_a_process_that_is_gone_is_none() -> None:
    assert resident_bytes(os.getpid()) > 1024**2
    done = subprocess.Popen(["true"])
    done.wait()
    assert resident_bytes(done.pid) == 0


# --- the child's own code, in this process ---------------------------------------------------------------------------


@pytest.fixture
def asked(good: Path, tmp_path: Path) -> dict[str, object]:
    return {
        "path": str(good), "out_dir": str(tmp_path), "format": "jpeg", "width": 640, "height": 480, "orientation": 1,
        "sizes": [40], "quality": 85, "max_pixels": 10**6, "describe": True, "seconds": 60,
    }  # fmt: skip


def test_a_lack_of_memory_is_told(asked: dict[str, object]) -> None:
    def full(_: object) -> object:
        raise MemoryError

    assert child.answer(asked, [("x", full)]) == {"failed": "memory"}  # type: ignore[list-item]


def test_libavif_says_in_words_that_memory_is_lacking(
    asked: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise RuntimeError("Failed to decode image: Out of memory")

    monkeypatch.setattr(decode_pillow.Image, "open", full)
    assert child.answer(asked, [("pillow", decode_pillow.draw)]) == {"failed": "memory"}


@pytest.mark.parametrize("change", [{"width": 641}, {"max_pixels": 1000}])
def test_a_decoder_that_finds_another_picture_stops(change: dict[str, int], asked: dict[str, object]) -> None:
    reply = child.answer(asked | change, [("vips", decode_vips.draw), ("pillow", decode_pillow.draw)])
    assert reply["failed"] == "undecodable"
    assert "vips: the decoder finds 640 x 480" in reply["message"]
    assert "pillow: " in reply["message"]


def test_without_libvips_pillow_draws(asked: dict[str, object], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(media, "decode_vips")
    monkeypatch.delitem(sys.modules, decode_vips.__name__)
    monkeypatch.setitem(sys.modules, "pyvips", None)
    drawers = child.engines("auto", 1)
    assert [name for name, _ in drawers] == ["pillow"]
    assert child.answer(asked, drawers)["engine"] == "pillow"


def test_only_five_loaders_can_be_used(tmp_path: Path) -> None:
    code = (
        "import pyvips, sys\n"
        "from content_orchestration.core.media import decode_vips\n"
        "decode_vips.set_up(1)\n"
        "for path in sys.argv[1:]:\n"
        "    try:\n"
        "        print(pyvips.Image.new_from_file(path).get('vips-loader'))\n"
        "    except pyvips.Error:\n"
        "        print('refused')\n"
    )
    paths = []
    for name in ("JPEG", "PNG", "WEBP", "GIF", "AVIF", "TIFF", "PPM"):
        paths.append(tmp_path / name)
        paths[-1].write_bytes(made.encoded(made.corners(), name))
    for name, data in (("svg", b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>"), ("csv", b"1,2\n")):
        paths.append(tmp_path / f"x.{name}")
        paths[-1].write_bytes(data)
    found = subprocess.run([sys.executable, "-c", code, *map(str, paths)], capture_output=True, text=True, check=True)
    assert found.stdout.split() == [
        "jpegload", "pngload", "webpload", "gifload", "heifload", *["refused"] * 4,
    ]  # fmt: skip


# --- settings --------------------------------------------------------------------------------------------------------


def test_settings_become_values() -> None:
    given = Settings(
        MEDIA_VARIANT_SIZES="800, 150,150", MEDIA_JPEG_QUALITY=70, MEDIA_MAX_PIXELS=2_000_000, MEDIA_MAX_FRAMES=7,
        ENABLE_METADATA_EXTRACTION=False, MEDIA_MEMORY_MIB=300, MEDIA_TIMEOUT_SECONDS=5, MEDIA_DECODE_THREADS=2,
    )  # fmt: skip
    assert variant_settings(given) == VariantSettings((150, 800), 70, describe=False)
    assert (picture_limits(given).max_pixels, picture_limits(given).max_frames) == (2_000_000, 7)
    with image_worker(given) as images:
        assert (images._memory_mib, images._timeout, images._threads) == (300, 5, 2)
    assert variant_settings(Settings()) == VariantSettings()
    for sizes in ("15", "9000", "150;400", "a"):
        with pytest.raises(ValueError, match="MEDIA_VARIANT_SIZES"):
            Settings(MEDIA_VARIANT_SIZES=sizes)
