"""The exceptions of this package, all derived from `MobileSamError`.

Messages say what was found, what was expected and how to mend it. Bad arguments are also `ValueError`s, so code
that catches those keeps working.
"""


class MobileSamError(Exception):
    """Base class of all errors that this package raises on purpose."""


class ImageError(MobileSamError, ValueError):
    """A file or array cannot be opened as a photo."""


class OutputError(MobileSamError, FileExistsError):
    """A file must not be written, because an input or a file of somebody else is there."""


class PromptError(MobileSamError, ValueError):
    """Points, boxes, labels or a mask input are not a valid prompt."""


class SettingsError(MobileSamError, ValueError):
    """A setting or a recipe has an unknown key or an impossible value."""


class ModelError(MobileSamError):
    """A model is unknown, damaged, of an unsupported kind, or not the one that was expected."""


class DownloadError(MobileSamError):
    """A download failed, or its checksum is not the published one."""


class DataError(MobileSamError):
    """A data set or shard cannot be read."""


class OutOfMemoryError(MobileSamError):
    """Training or evaluation needs more memory than the device or the machine has."""


class ExportError(MobileSamError):
    """An exported graph does not compute what the network computes."""


class MissingExtraError(MobileSamError, ImportError):
    """An optional dependency that is needed is not installed."""

    def __init__(self, extra: str, purpose: str, *, command: str | None = None) -> None:
        from mobilesam.extras import install_command

        super().__init__(f"{purpose} needs an optional dependency: {command or install_command(extra)}")
        self.extra = extra


def first_line(error: BaseException) -> str:
    """The first line of an exception's message, or its type where it has none."""
    return (str(error).splitlines() or [type(error).__name__])[0]
