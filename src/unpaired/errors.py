"""The exception tree: every message is one sentence that names what is wrong and what to do next.

Each class carries the exit code its sentence ends a command with (BSD sysexits where one fits), so that a
shell script can tell a wrong setting from a broken file without reading English.
"""

from __future__ import annotations

from typing import ClassVar


class UnpairedError(Exception):
    """Anything a user can mend; `unpaired` prints its message alone, never a traceback."""

    exit_code: ClassVar[int] = 1
    of_one_rank = False
    """Whether it was raised by one of several processes, which alone can tell of it."""

    def __init__(self, *args: object, setting: str = "") -> None:
        """setting: the setting, by its name in Python, that the advice at the end of the message names last.

        The command line names its option instead.
        """
        super().__init__(*args)
        self.setting = setting


class ConfigError(UnpairedError):
    """A setting is unknown, of the wrong type, out of range, or at odds with another one."""

    exit_code: ClassVar[int] = 78


class UnknownKindError(ConfigError):
    """A setting or a file names a part that is neither in the package nor installed. noun: its sort. kind: its name."""

    def __init__(self, message: str, *, noun: str, kind: str) -> None:
        super().__init__(message)
        self.noun, self.kind = noun, kind


class DataError(UnpairedError):
    """A data folder is missing, empty, or does not hold what training or translating needs."""

    exit_code: ClassVar[int] = 65


class ImageError(DataError):
    """One image file cannot be read faithfully: broken, too large, or of a kind that is not supported."""


class ModelError(DataError):
    """A model folder is missing, incomplete, or its weights do not fit its description."""


class MissingPartError(ModelError, ConfigError):
    """A run or a model needs a part that is not installed, such as its network; the files themselves may be sound."""

    exit_code: ClassVar[int] = 78


class CheckpointError(DataError):
    """A checkpoint is damaged: a file is missing or its SHA-256 is not the one in the manifest."""


class OutputError(UnpairedError):
    """An output cannot be created: it exists already, two inputs claim one name, or the run is in use."""

    exit_code: ClassVar[int] = 73


class StorageError(UnpairedError):
    """The disk said no: full, read-only, or failing."""

    exit_code: ClassVar[int] = 74


class DeviceError(ConfigError):
    """The device asked for does not exist on this machine."""


class NonFiniteError(UnpairedError):
    """A loss or gradient became NaN or infinite; nothing was updated with it.

    finding: the part of the message that says what, where and on which images.
    """

    exit_code: ClassVar[int] = 70

    def __init__(self, message: str, *, finding: str = "") -> None:
        super().__init__(message)
        self.finding = finding or message


class WorkerError(UnpairedError):
    """A loader process was killed, failed or hung; the checkpoints are untouched."""

    exit_code: ClassVar[int] = 71


class RankError(UnpairedError):
    """One of several processes that train together was lost; the checkpoints are untouched."""

    exit_code: ClassVar[int] = 71


class EndedElsewhere(UnpairedError):  # noqa: N818 - the error is another process's
    """Rank 0 of several processes ended with an error, which it tells itself, and an exit code that is everybody's."""

    def __init__(self, exit_code: int) -> None:
        super().__init__("Rank 0 cannot go on; its own message says why.")
        self.exit_code = exit_code  # type: ignore[misc]


class OutOfMemoryError(UnpairedError):
    """The device or the machine has too little memory for a step; the checkpoints are untouched."""

    exit_code: ClassVar[int] = 71


class MissingExtraError(UnpairedError):
    """A feature needs an optional dependency that is not installed."""

    exit_code: ClassVar[int] = 69

    def __init__(self, feature: str, extra: str) -> None:
        super().__init__(f"{feature} needs an optional part: pip install 'unpaired[{extra}]'.")


class DownloadError(UnpairedError):
    """A server is absent, refuses, or broke off; nothing on this machine is wrong."""

    exit_code: ClassVar[int] = 69


class Interrupted(UnpairedError):  # noqa: N818 - not an error, the wish of the user
    """Training was asked to stop by a signal; its state was saved before this was raised.

    `exit_code` is 128 + the signal's number: 130 after Ctrl-C, 143 after SIGTERM.
    """

    def __init__(self, message: str, *, signum: int) -> None:
        super().__init__(message)
        self.signum = signum
