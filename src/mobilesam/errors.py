"""Everything that can go wrong for a user, in one tree.

Messages say what was found, what was expected and how to mend it. Bad arguments are also `ValueError`s, so code
that catches those keeps working.
"""


class MobileSamError(Exception):
    """Base of every error this package raises on purpose."""


class ImageError(MobileSamError, ValueError):
    """A photo cannot be opened or is not one."""


class PromptError(MobileSamError, ValueError):
    """Points, boxes, labels or a prior do not make a prompt."""


class SettingsError(MobileSamError, ValueError):
    """A setting or a recipe has an unknown key or an impossible value."""


class ModelError(MobileSamError):
    """A model is unknown, damaged, foreign, or not the one that was expected."""


class DownloadError(MobileSamError):
    """A download failed or its bytes are not the published ones."""


class DataError(MobileSamError):
    """A data set or shard cannot be read."""


class OutOfMemoryError(MobileSamError):
    """Training needs more memory than the device or the machine has."""


class ExportError(MobileSamError):
    """An exported graph does not compute what the network computes."""


class MissingExtraError(MobileSamError, ImportError):
    """An optional dependency is needed and absent."""

    def __init__(self, extra: str, purpose: str, *, command: str | None = None) -> None:
        from mobilesam.extras import install_command

        super().__init__(f"{purpose} needs an optional dependency: {command or install_command(extra)}")
        self.extra = extra


def first_line(error: BaseException) -> str:
    """The first line of a library's message, or its type where it has none; the rest is for its developers."""
    return (str(error).splitlines() or [type(error).__name__])[0]
