"""Where things come from in the user's code: the source line and the module of a node, the line of an error."""

from __future__ import annotations

import linecache
import re

from torch import fx

__all__ = ["first_line", "location_of", "module_of", "source_line"]


def location_of(node: fx.Node) -> str:
    """The user's source line that a node comes from, as ``file:line (code)``; empty where torch recorded none."""
    lines = [line.strip() for line in str(node.meta.get("stack_trace") or "").splitlines() if line.strip()]
    for index in range(len(lines) - 1, -1, -1):
        if lines[index].startswith("File "):
            parts = lines[index].replace('"', "").split(", ")
            code = lines[index + 1] if index + 1 < len(lines) else ""
            return f"{parts[0].removeprefix('File ')}:{parts[1].removeprefix('line ')} ({code})"
    return ""


def module_of(node: fx.Node) -> str:
    """The dotted path of the innermost module that a node was called in."""
    stack = node.meta.get("nn_module_stack") or {}
    paths = [path for path, _ in stack.values()]
    return str(paths[-1]) if paths else ""


def first_line(error: Exception) -> str:
    """What an error says in its first line, without torch's notes on its symbols."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    reason = re.sub(r"\s*\((unhinted|Size-like symbols):.*", "", lines[0]) if lines else ""
    return f"{type(error).__name__}: {reason}"[:200]


def source_line(error: Exception) -> str:
    """The user's own line that an error came through last, with its code; empty where there is none."""
    trace = error.__traceback__
    place = ""
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if "/torch/" not in file and "deployprune" not in file and not file.startswith("<"):
            code = linecache.getline(file, trace.tb_lineno).strip()
            place = f" (at {file}:{trace.tb_lineno}: {code})" if code else f" (at {file}:{trace.tb_lineno})"
        trace = trace.tb_next
    return place
