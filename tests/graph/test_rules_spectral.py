"""Fourier transforms, and numbers in pairs."""

from __future__ import annotations

import pytest
import torch
from rule_cases import Case, Parts, check_case, parameter
from torch import Tensor, nn


def _filtered(parts: Parts, x: Tensor) -> Tensor:
    """Token mixing by a learned filter over the frequencies of the map."""
    spectrum = torch.fft.rfft2(x.view(-1, 4, 4, 8), dim=(1, 2), norm="ortho")
    mixed = spectrum * torch.view_as_complex(parts.filter)
    return torch.fft.irfft2(mixed, s=(4, 4), dim=(1, 2), norm="ortho").reshape(x.shape)


def _filtered_by_numbers(parts: Parts, x: Tensor) -> Tensor:
    spectrum = torch.fft.rfft(x, dim=1) * parts.filter
    return torch.fft.irfft(spectrum, n=16, dim=1)


def _of_channels(parts: Parts, x: Tensor) -> Tensor:
    return parts["up"](torch.fft.fft(torch.fft.fft(x, dim=-1), dim=-2).real)


def _as_channels(parts: Parts, x: Tensor) -> Tensor:
    """Real and imaginary parts become channels, are mixed, and turn back."""
    spectrum = torch.view_as_real(torch.fft.rfft2(x, norm="ortho"))
    parted = spectrum.permute(0, 1, 4, 2, 3).flatten(1, 2)
    mixed = parts["mix"](parted).unflatten(1, (-1, 2)).permute(0, 1, 3, 4, 2).contiguous()
    return torch.fft.irfft2(torch.view_as_complex(mixed), s=(4, 4), norm="ortho")


def _parted(parts: Parts, x: Tensor) -> Tensor:
    spectrum = torch.fft.rfft(x, dim=1)
    return torch.cat([spectrum.real, spectrum.imag, spectrum.angle()], 2)


def _turned(parts: Parts, x: Tensor) -> Tensor:
    """Rotary positions as complex numbers: pairs of a head's dimensions go together."""
    batch = x.shape[0]
    turns = torch.polar(torch.ones(16, 3), torch.outer(torch.arange(16.0), torch.tensor([1.0, 0.3, 0.1])))

    def turn(heads: Tensor) -> Tensor:
        pairs = torch.view_as_complex(heads.view(batch, 16, 4, 3, 2))
        return torch.view_as_real(pairs * turns[:, None]).flatten(3).transpose(1, 2)

    scores = turn(parts["query"](x)) @ turn(parts["key"](x)).transpose(-1, -2)
    value = parts["value"](x).view(batch, 16, 4, 6).transpose(1, 2)
    return parts["out"]((scores.softmax(-1) @ value).transpose(1, 2).flatten(2))


def _attention() -> dict[str, nn.Module]:
    return {**{name: nn.Linear(8, 24) for name in ("query", "key", "value")}, "out": nn.Linear(24, 8)}


CASES = {
    "filter": Case(_filtered, lambda: {"filter": parameter(4, 3, 8, 2)}, tokens=True),
    "complex filter": Case(
        _filtered_by_numbers, lambda: {"filter": nn.Parameter(torch.randn(9, 8, dtype=torch.complex64))}, tokens=True
    ),
    "transform of channels": Case(_of_channels, lambda: {"up": nn.Linear(8, 8)}, tokens=True, share=0.8),
    "parts as channels": Case(_as_channels, lambda: {"mix": nn.Conv2d(16, 24, 1)}),
    "parts": Case(_parted, tokens=True),
    "rotary": Case(_turned, _attention, tokens=True),
}


@pytest.mark.parametrize("name", CASES)
def test_pruned_equals_masked_twin(name: str) -> None:
    check_case(CASES[name])
