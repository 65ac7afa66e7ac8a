"""``deployprune devices``: the backends and the machine that models can be timed on here."""

from __future__ import annotations

import click

from deployprune.cli.common import Output, output_options

__all__ = ["command"]


@click.command("devices")
@output_options
def command(output: Output) -> None:
    """List the backends and the machine they run on."""
    from deployprune.backends.registry import available_backends
    from deployprune.host import describe_host
    from deployprune.reporting.pages import render_devices

    backends, host = available_backends(), describe_host()
    output.show({"backends": backends, "host": host}, lambda: render_devices(backends, host))
