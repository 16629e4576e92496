"""Pictures drawn in a child process that is watched: too much memory or time ends the child, never the run.

One child serves many files, since starting one costs about 0.2 s; it is started anew after it died, and after
`recycle_after` files. Which files are let in at all is `inspection.py`'s.
"""

import signal
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import content_orchestration
from content_orchestration.core.errors import Transient
from content_orchestration.core.media.colours import Colour
from content_orchestration.core.media.describe import Described, describe
from content_orchestration.core.media.inspection import Inspection, inspect
from content_orchestration.core.media.limits import Limits, Refused
from content_orchestration.core.media.variants import Variant, VariantSettings
from content_orchestration.core.media.watch import Died, OutOfMemory, OutOfTime, WatchedPipe

Engine = Literal["auto", "pillow"]

_START_SECONDS = 60.0
_ORPHAN_SECONDS = 10
# The answers' pipe closes a moment before the process is gone.
_DEATH_SECONDS = 5.0
_ROOT = str(Path(content_orchestration.__file__).resolve().parent.parent)


@dataclass(frozen=True)
class Failure:
    """Why a file has no variants. `again` is True where another try may succeed, since the machine may be to blame."""

    code: str
    message: str
    again: bool = False


@dataclass(frozen=True)
class Processed:
    """What came of one file. `failed` is None where all went well; a refused file has no `inspection`."""

    failed: Failure | None = None
    inspection: Inspection | None = None
    described: Described | None = None
    variants: tuple[Variant, ...] = ()
    phash: str | None = None
    engine: str | None = None


class ImageWorker:
    """Draws variants and describes files, one at a time however many threads ask.

    `memory_mib` is what the child may hold, `timeout_s` the seconds that one file may take, `threads` those of libvips.
    `engine` `pillow` leaves libvips out.
    """

    def __init__(
        self,
        limits: Limits | None = None,
        *,
        memory_mib: int = 512,
        timeout_s: float = 30.0,
        threads: int = 1,
        recycle_after: int = 500,
        engine: Engine = "auto",
    ) -> None:
        self._limits = limits or Limits()
        self._memory_mib = memory_mib
        self._timeout = timeout_s
        self._threads = threads
        self._recycle_after = recycle_after
        self._engine = engine
        self._lock = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None
        self._pipe: WatchedPipe | None = None
        self._served = 0

    def process(self, path: Path, out_dir: Path, settings: VariantSettings) -> Processed:
        """Inspects, draws into `out_dir` (which exists) and describes one file. A bad file is a result, not an error.

        Raises `Transient` where the child cannot be started or `out_dir` not be written, OSError where `path` is not
        there.
        """
        try:
            inspection = inspect(path, self._limits)
        except Refused as refused:
            return Processed(Failure(refused.code, str(refused)))
        if inspection.kind != "image":
            return Processed(None, inspection, describe(inspection, extract=settings.describe))
        order = {
            "path": str(path.resolve()),
            "out_dir": str(out_dir.resolve()),
            "format": inspection.format,
            "width": inspection.width,
            "height": inspection.height,
            "orientation": inspection.orientation,
            "sizes": settings.sizes,
            "quality": settings.quality,
            "describe": settings.describe,
            "max_pixels": self._limits.max_pixels,
            "seconds": int(self._timeout) + _ORPHAN_SECONDS,
        }
        with self._lock:
            reply = self._ask(order)
        if isinstance(reply, Failure):
            return Processed(reply, inspection, describe(inspection, extract=settings.describe))
        return _done(reply, inspection, settings)

    def close(self) -> None:
        """Ends the child, if there is one."""
        with self._lock:
            self._end()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def child_pid(self) -> int | None:
        """The process id of the child that lives, for those who watch it."""
        return self._child.pid if self._child else None

    def _ask(self, order: dict[str, Any]) -> dict[str, Any] | Failure:
        if self._child is not None and (self._served >= self._recycle_after or self._child.poll() is not None):
            self._end()
        pipe = self._pipe or self._start()
        self._served += 1
        try:
            reply = pipe.ask(order, self._timeout)
        except OutOfTime:
            self._end()
            return Failure(
                "time",
                f"decoding took longer than {self._timeout:g} s: export the picture anew, or raise "
                "MEDIA_TIMEOUT_SECONDS",
                again=True,
            )
        except OutOfMemory:
            self._end()
            return self._too_big()
        except Died:
            how = self._end(patience=_DEATH_SECONDS)
            return Failure(
                "crashed", f"the decoder {how}, perhaps for want of memory: export the picture anew", again=True
            )
        if "outage" in reply:
            raise Transient(str(reply["outage"]))
        if reply.get("failed") == "memory":
            self._end()
            return self._too_big()
        if "failed" in reply:
            return Failure(str(reply["failed"]), f"no decoder can read it ({reply['message']}): export it anew")
        return reply

    def _too_big(self) -> Failure:
        return Failure(
            "memory",
            f"decoding needs more than {self._memory_mib} MiB: scale the picture down, save it without interlacing or "
            "progressive order, or raise MEDIA_MEMORY_MIB",
        )

    def _start(self) -> WatchedPipe:
        # Nothing of this process's environment goes along: it holds keys and passwords.
        environment = {"PYTHONPATH": _ROOT, "VIPS_BLOCK_UNTRUSTED": "1", "MALLOC_ARENA_MAX": "2"}
        arguments = [str(self._memory_mib), self._engine, str(self._threads)]
        try:
            child = subprocess.Popen(  # noqa: S603  (our own module, by the path of this interpreter)
                [sys.executable, "-m", "content_orchestration.core.media.child", *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=environment,
                start_new_session=True,
            )
        except OSError as error:
            raise Transient(f"the decoder cannot be started: {error}") from error
        self._child, self._served = child, 0
        pipe = self._pipe = WatchedPipe(child, self._memory_mib)
        try:
            pipe.receive(_START_SECONDS)
        except (OutOfTime, OutOfMemory, Died) as error:
            raise Transient(f"the decoder does not start: {type(error).__name__}, {self._end()}") from error
        return pipe

    def _end(self, patience: float = 0.0) -> str:
        """Ends the child, after `patience` seconds in which it may end by itself, and says how it ended."""
        child, pipe, self._child, self._pipe = self._child, self._pipe, None, None
        if child is None or pipe is None:
            return "has not run"
        with suppress(subprocess.TimeoutExpired):
            child.wait(patience)
        child.kill()
        code = child.wait()
        pipe.close()
        return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"


def _done(reply: dict[str, Any], inspection: Inspection, settings: VariantSettings) -> Processed:
    inspection = replace(inspection, width=reply["width"], height=reply["height"])
    variants = [Variant(**{**one, "path": Path(one["path"])}) for one in reply["variants"]]
    colours = tuple(Colour(*one) for one in reply["colours"])
    return Processed(
        None,
        inspection,
        describe(inspection, extract=settings.describe, colours=colours, has_alpha=reply["has_alpha"]),
        tuple(sorted(variants, key=lambda one: one.width)),
        reply["phash"],
        reply["engine"],
    )
