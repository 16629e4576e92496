"""The process in which files are decoded: orders in on stdin, answers out on stdout, a JSON object a line each.

Run by `worker.py` and by nobody else. It holds no secret, and neither its memory, its time nor its files can grow
without bound. What an answer means is the worker's.
"""

import json
import os
import signal
import sys
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

from content_orchestration.core.media.drawing import Drawn, Order, Undecodable, look
from content_orchestration.core.media.variants import EXTENSION

Draw = Callable[[Order], Drawn]
_MIB = 1024 * 1024
_MOST_OUTPUT = 64 * _MIB


def limit(memory_mib: int) -> None:
    """Ceilings that the system enforces, where it knows them: private memory, size of a file, open files, cores."""
    import resource

    # RLIMIT_AS would count the address space that every thread's arena reserves (64 MiB each) and never uses.
    # RLIMIT_DATA has room above the ceiling that the worker watches, since a decoder refused memory may abort.
    for name, most in (
        ("RLIMIT_DATA", (memory_mib + memory_mib // 4 + 64) * _MIB),
        ("RLIMIT_FSIZE", _MOST_OUTPUT),
        ("RLIMIT_NOFILE", 128),
        ("RLIMIT_CORE", 0),
    ):
        number = getattr(resource, name, None)
        if number is not None:
            hard = resource.getrlimit(number)[1]
            most = most if hard == resource.RLIM_INFINITY else min(most, hard)
            resource.setrlimit(number, (most, most))
    # A write beyond the limit is then an error, not the end of the process.
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)


def engines(wanted: str, threads: int) -> list[tuple[str, Draw]]:
    """The engines in the order in which they are tried. libvips is left out where it cannot be loaded."""
    from content_orchestration.core.media import decode_pillow

    found: list[tuple[str, Draw]] = [("pillow", decode_pillow.draw)]
    if wanted != "pillow":
        try:
            from content_orchestration.core.media import decode_vips
        # pyvips raises OSError or its own error where the library is missing or of another version.
        except (ImportError, OSError):
            return found
        decode_vips.set_up(threads)
        found.insert(0, ("vips", decode_vips.draw))
    return found


def answer(asked: dict[str, Any], drawers: list[tuple[str, Draw]]) -> dict[str, Any]:
    """Carries out one order. Never raises for what a file does."""
    folder = Path(asked["out_dir"])
    order = Order(
        Path(asked["path"]),
        asked["format"],
        asked["width"],
        asked["height"],
        asked["orientation"],
        tuple(asked["sizes"]),
        asked["quality"],
        asked["max_pixels"],
    )
    reasons = []
    for engine, draw in drawers:
        try:
            drawn = draw(order)
            phash, colours = look(drawn.small)
        except Undecodable as error:
            reasons.append(f"{engine}: {error}")
        except MemoryError:
            return {"failed": "memory"}
        else:
            try:
                variants = [_write(folder, drawn.format, *one) for one in drawn.encoded]
            except OSError as error:
                return {"outage": f"{folder} cannot be written: {error}"}
            return {
                "engine": engine,
                "width": drawn.width,
                "height": drawn.height,
                "has_alpha": drawn.format == "webp",
                "variants": variants,
                "phash": phash,
                "colours": [[one.hex, one.share] for one in colours] if asked["describe"] else [],
            }
    return {"failed": "undecodable", "message": "; ".join(reasons)}


def _write(folder: Path, kind: str, width: int, height: int, data: bytes) -> dict[str, Any]:
    path = folder / f"{width}.{EXTENSION[kind]}"
    path.write_bytes(data)
    return {
        "width": width,
        "height": height,
        "format": kind,
        "path": str(path),
        "size_bytes": len(data),
        "sha256": sha256(data).hexdigest(),
    }


def main() -> None:
    """Answers orders until stdin ends."""
    memory_mib, wanted, threads = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    # Libraries print; only answers may go where the worker reads.
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    limit(memory_mib)
    drawers = engines(wanted, threads)
    replies.write(json.dumps({"ready": [name for name, _ in drawers]}) + "\n")
    replies.flush()
    for line in sys.stdin:
        asked = json.loads(line)
        # Ends this process should the worker die while it decodes; the worker's own limit is shorter.
        signal.alarm(asked["seconds"])
        reply = answer(asked, drawers)
        signal.alarm(0)
        replies.write(json.dumps(reply) + "\n")
        replies.flush()
        if reply.get("failed") == "memory":
            # What is left of a heap that ran full is not worth keeping.
            return


if __name__ == "__main__":
    main()
