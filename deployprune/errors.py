"""Every error that deployprune raises on purpose, and the exit code it ends a command with.

    DeployPruneError
    ├── UsageError                 2   a wrong option, file, shape or configuration key
    ├── UnsafeModelError           2   a model file that would have to run code to load
    ├── UnsupportedModelError      3   a model that cannot be captured, or a budget below its floor
    ├── BackendUnavailableError    3   a runtime that is unknown or not installed
    ├── DeviceError                3   a device that cannot be reached, is in use, too hot, or was lost for good
    ├── ExportError                4   a file that could not be written, simplified or opened
    ├── ParityError                4   a file or pruned model whose outputs differ from the reference
    └── RunDirectoryError          2   a record that is missing, damaged or of another run

A budget that is missed is a verdict, not an error: see :class:`deployprune.records.Verdict`.
"""

from __future__ import annotations

__all__ = [
    "BackendUnavailableError",
    "DeployPruneError",
    "DeviceError",
    "ExportError",
    "ParityError",
    "RunDirectoryError",
    "UnsafeModelError",
    "UnsupportedModelError",
    "UsageError",
]


class DeployPruneError(Exception):
    """The base of all errors: what went wrong and where, and in ``hint`` what to do next."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(DeployPruneError):
    """An option, a file, a shape or a configuration key that cannot be used."""

    exit_code = 2


class UnsafeModelError(DeployPruneError):
    """A model file that holds more than plain data and stock classes."""

    exit_code = 2


class RunDirectoryError(DeployPruneError):
    """A run directory whose records are missing, damaged, or belong to other inputs."""

    exit_code = 2


class UnsupportedModelError(DeployPruneError):
    """A model that cannot be captured or pruned, or a target below what pruning can reach."""

    exit_code = 3


class BackendUnavailableError(DeployPruneError):
    """A runtime that is unknown, or whose package is not installed."""

    exit_code = 3


class DeviceError(DeployPruneError):
    """A device that cannot be reached or used, or that was lost and did not come back."""

    exit_code = 3


class ExportError(DeployPruneError):
    """A model that could not be written, simplified, or opened by its runtime."""

    exit_code = 4


class ParityError(DeployPruneError):
    """Outputs that differ from the reference by more than the tolerance."""

    exit_code = 4
