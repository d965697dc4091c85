"""What an engine needs to know of a job."""

from __future__ import annotations

from typing import Protocol


class Crew(Protocol):
    """A job for several workers; it can be pickled, so that workers in other processes and on other machines get it.

    Workers share nothing but the job's folder, and divide the work by the claims in it.
    """

    def work(self, number: int, threads: int | None) -> None:
        """Work until nothing is left that another worker does not do; called once in each worker.

        Args:
            number: of the worker, from 0.
            threads: that it may use; None lets the runtime choose.
        """
        ...

    def is_over(self) -> bool:
        """Whether nothing is left to do."""
        ...
