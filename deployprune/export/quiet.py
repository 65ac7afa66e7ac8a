"""Exporters talk: progress bars, warnings about their own code, greetings of native libraries. None of it is ours."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from deployprune.backends.silence import held_stderr

__all__ = ["quiet"]


@contextmanager
def quiet() -> Iterator[None]:
    """Silence warnings, log lines below errors, and both output streams while the block runs; what is raised is raised.

    Whether the file came out right is for parity to say.
    """
    before = logging.root.manager.disable
    with held_stderr(), contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(max(before, logging.WARNING))
        try:
            yield
        finally:
            logging.disable(before)
