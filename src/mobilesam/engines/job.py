"""What an engine needs to know of a job."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol


class Crew(Protocol):
    """A job for several workers; it can be pickled, so that workers in other processes and on other machines get it.

    Workers share nothing but the job's folder, and divide the work by the claims in it.
    """

    def work(self, threads: int | None) -> Iterator[None]:
        """Work until nothing is left that another worker does not do; called once in each worker.

        Args:
            threads: that it may use; None lets the runtime choose.

        Yields:
            Whenever a part of the work is finished.
        """
        ...

    def is_over(self) -> bool:
        """Whether nothing is left to do."""
        ...
