"""How all pictures look: one page, one type, few colours, no more ink than the figures need."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["ACCENT", "FAINT", "INK", "MUTED", "PALETTE", "SETTINGS", "WARM", "head", "plain"]

INK = "#1f2933"
MUTED = "#6b7785"
FAINT = "#e3e8ee"
ACCENT = "#0f766e"
WARM = "#d9480f"
PALETTE = (ACCENT, "#3b6fb6", "#b7791f", "#8b5fbf", "#c2416b", "#5b8c2a", "#5f6b7a")

SETTINGS: dict[str, Any] = {
    "axes.edgecolor": MUTED,
    "axes.labelcolor": MUTED,
    "axes.linewidth": 0.8,
    "axes.titlesize": 11,
    "figure.facecolor": "white",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Helvetica", "Arial"],
    "font.size": 9,
    "svg.fonttype": "none",  # text stays text: small files that can be searched and read aloud
    "svg.hashsalt": "deployprune",  # equal figures give equal files
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
}


def plain(axes: Axes, *, grid: Literal["x", "y"] | None) -> None:
    """Leave two spines and a faint grid along one axis."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(length=0, pad=4)
    if grid is not None:
        axes.grid(axis=grid, color=FAINT, linewidth=0.8)
        axes.set_axisbelow(True)


def head(figure: Figure, title: str, subtitle: str, *, inches: float = 0.35) -> None:
    """Title and subtitle at the upper left, ``inches`` below the edge."""
    height = figure.get_size_inches()[1]
    left = 0.3 / figure.get_size_inches()[0]
    figure.text(left, 1 - inches / height, title, fontsize=15, fontweight="bold", va="center")
    figure.text(left, 1 - (inches + 0.28) / height, subtitle, fontsize=9.5, color=MUTED, va="center")
