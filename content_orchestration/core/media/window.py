"""Bounded reads from one open file. Which bytes mean what is elsewhere."""

import os
from pathlib import Path
from types import TracebackType
from typing import Self

_BLOCK = 64 * 1024


class Window:
    """A file read by offset through one buffer of 64 KiB, so that walking it costs neither memory nor many calls."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self.size = os.fstat(self._descriptor).st_size
        self._start = 0
        self._block = b""

    def at(self, offset: int, length: int) -> bytes:
        """Up to `length` bytes from `offset`; fewer only at the end of the file."""
        begin = offset - self._start
        if begin < 0 or begin + length > len(self._block):
            self._block = os.pread(self._descriptor, max(length, _BLOCK), offset)
            self._start = offset
            begin = 0
        return self._block[begin : begin + length]

    def tail(self, length: int) -> bytes:
        """The file's last `length` bytes, or all of it."""
        return os.pread(self._descriptor, length, max(self.size - length, 0))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._descriptor)
