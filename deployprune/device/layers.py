"""The layers that a device is measured on: small networks of one kind, whose one width is swept."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Definition"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """A small network whose one ``width`` is swept: ``repeats`` layers of one kind between ends of ``base`` channels.

    ``size`` is the input's resolution (or its tokens for linear, attention and layer norm), ``groups`` those of a
    grouped convolution or the heads of attention, where the width is that of one group or head. Kinds that keep their
    channels (depthwise, norms, resizes) have the width at both ends, and no ``base``.
    """

    kind: str
    size: int
    base: int = 0
    kernel: int = 0
    stride: int = 1
    groups: int = 1
    repeats: int = 1

    @property
    def layer(self) -> str:
        """What is timed: ``3x3 conv``, ``3x3 grouped by 4``, ``attention``."""
        kernel = f"{self.kernel}x{self.kernel} " if self.kernel else ""
        return f"{kernel}{self.kind}{f' by {self.groups}' if self.kind == 'grouped' else ''}"

    @property
    def place(self) -> str:
        """The input that it is timed on: ``28x28`` or ``196 tokens``."""
        if self.kind in ("linear", "attention", "layer norm"):
            return "1 token" if self.size == 1 else f"{self.size} tokens"
        return f"{self.size}x{self.size}"

    @property
    def unit(self) -> str:
        """What the width counts."""
        return {"grouped": "channels of a group", "attention": "channels of a head"}.get(self.kind, "channels")

    @property
    def name(self) -> str:
        """Layer and place: ``3x3 conv at 28x28``."""
        return f"{self.layer} at {self.place}"

    def macs(self, width: int) -> int:
        """Multiply-accumulate operations of one example; 0 for what does not contract."""
        pixels, window = self.size**2, self.kernel**2
        match self.kind:
            case "conv" | "grouped":  # one group's inputs meet its own outputs only
                return 2 * self.repeats * self.base * width * window * pixels
            case "strided":
                return self.repeats * self.base * width * window * (self.size // self.stride) ** 2
            case "transposed":
                return self.repeats * self.base * width * window * pixels
            case "depthwise":
                return self.repeats * width * window * pixels
            case "linear":
                return 2 * self.repeats * self.size * self.base * width
            case "attention":
                inner = self.groups * width
                return self.repeats * (4 * self.size * self.base * inner + 2 * self.size**2 * inner)
        return 0
