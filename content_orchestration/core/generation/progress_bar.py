"""The progress of a batch in the terminal."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from tqdm import tqdm

from content_orchestration.core.generation.progress import Progress


@contextmanager
def progress_bar(name: str, total: int, *, file: TextIO | None = None) -> Iterator[Callable[[Progress], None]]:
    """A bar on standard error that follows the progress that it is told: items that ended, failures, cost."""
    with tqdm(total=total, desc=name, unit="item", file=file or sys.stderr, dynamic_ncols=True) as bar:

        def tell(progress: Progress) -> None:
            bar.set_postfix_str(f"failed {progress.failed:,}, ${progress.cost_usd:.4f}", refresh=False)
            bar.update(progress.total - progress.open - bar.n)

        yield tell
