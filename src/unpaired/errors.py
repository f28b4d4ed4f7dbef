"""The exception tree: every message is one sentence that names the problem and the remedy.

Each class has the exit code of a command that ends with it, one of BSD sysexits if one fits. A shell script can
distinguish a wrong setting from a broken file by the code alone.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any, ClassVar


class UnpairedError(Exception):
    """An error that a user can fix; `unpaired` prints its message without a traceback."""

    exit_code: ClassVar[int] = 1
    of_one_rank = False
    """Whether only one of several processes raised it, so that this process has to report it."""

    def __init__(self, *args: object, setting: str = "") -> None:
        """setting: the setting, by its name in Python, that the advice at the end of the message names last.

        The command line names its option instead.
        """
        super().__init__(*args)
        self.setting = setting

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the message and the attributes, for worker processes; arguments by keyword have no other way."""
        return _restored, (type(self), self.args), self.__dict__


def _restored(kind: type[UnpairedError], args: tuple[object, ...]) -> UnpairedError:
    return kind.__new__(kind, *args)


class ConfigError(UnpairedError):
    """A setting is unknown, of the wrong type, out of range, or in conflict with another one."""

    exit_code: ClassVar[int] = 78


class UnknownKindError(ConfigError):
    """A setting or a file names a component that is neither built in nor installed.

    noun: the type of component, such as "generator".
    kind: the unknown name.
    """

    def __init__(self, message: str, *, noun: str, kind: str) -> None:
        super().__init__(message)
        self.noun, self.kind = noun, kind


class DataError(UnpairedError):
    """A data folder is missing, empty, or lacks files that training or translation needs."""

    exit_code: ClassVar[int] = 65


class LayoutError(DataError):
    """A data folder has another layout than training reads; the message ends in a command that trains on it.

    lead: the sentence before the command.
    words: words of `unpaired train` that take the place of the folder, such as ("--a", FOLDER, "--b", FOLDER).
    complete: whether the command takes no further options.
    """

    def __init__(self, lead: str, words: Sequence[str], *, complete: bool = False) -> None:
        super().__init__(f"{lead}: {shlex.join(['unpaired', 'train', *words])}")
        self.lead, self.words, self.complete = lead, tuple(words), complete


class ImageError(DataError):
    """An image file cannot be read faithfully: it is damaged, too large, or of an unsupported format."""


class ModelError(DataError):
    """A model folder is missing or incomplete, or its weights do not match its description."""


class MissingPartError(ModelError, ConfigError):
    """A run or a model needs a component that is not installed, such as its network; its files may be intact."""

    exit_code: ClassVar[int] = 78


class CheckpointError(DataError):
    """A checkpoint is damaged: a file is missing or its SHA-256 differs from the manifest."""


class OutputError(UnpairedError):
    """An output cannot be created: it already exists, two inputs have the same output name, or the run is in use."""

    exit_code: ClassVar[int] = 73


class StorageError(UnpairedError):
    """A disk is full, read-only or failing."""

    exit_code: ClassVar[int] = 74


class DeviceError(ConfigError):
    """The requested device does not exist on this machine."""


class NonFiniteError(UnpairedError):
    """A loss or gradient is NaN or infinite; no weight was updated with it.

    finding: the part of the message that names the tensor, the step and the images.
    """

    exit_code: ClassVar[int] = 70

    def __init__(self, message: str, *, finding: str = "") -> None:
        super().__init__(message)
        self.finding = finding or message


class WorkerError(UnpairedError):
    """A data loader process was killed, failed or hung; the checkpoints are intact."""

    exit_code: ClassVar[int] = 71


class RankError(UnpairedError):
    """A rank was lost during data-parallel training; the checkpoints are intact."""

    exit_code: ClassVar[int] = 71


class EndedElsewhere(UnpairedError):  # noqa: N818 - the error is another process's
    """Rank 0 ended with an error, which it reports itself; every rank exits with the exit code of that error."""

    def __init__(self, exit_code: int) -> None:
        super().__init__("Rank 0 ended with an error; see its message.")
        self.exit_code = exit_code  # type: ignore[misc]


class OutOfMemoryError(UnpairedError):
    """The device or the machine has too little memory for a step; the checkpoints are intact."""

    exit_code: ClassVar[int] = 71


class MissingExtraError(UnpairedError):
    """A feature needs an optional dependency that is not installed."""

    exit_code: ClassVar[int] = 69

    def __init__(self, feature: str, extra: str) -> None:
        super().__init__(f"{feature} needs an optional part: pip install 'unpaired[{extra}]'.")


class DownloadError(UnpairedError):
    """A server is unreachable, refused the request, or closed the connection; the fault is not on this machine."""

    exit_code: ClassVar[int] = 69


class Interrupted(UnpairedError):  # noqa: N818 - not an error but a request of the user
    """A signal stopped training; its state was saved before this was raised.

    `exit_code` is 128 + the signal's number: 130 after Ctrl-C, 143 after SIGTERM.
    """

    def __init__(self, message: str, *, signum: int) -> None:
        super().__init__(message)
        self.signum = signum
