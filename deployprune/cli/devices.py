"""``deployprune devices``: what models can be timed on, here and on other devices."""

from __future__ import annotations

import click

from deployprune.cli.common import Output, output_options
from deployprune.cli.settings import Given, config_options

__all__ = ["command"]


@click.command("devices")
@config_options()
@click.option("--device", "named", multiple=True, metavar="DEVICE", help="ask this one too; may be repeated")
@output_options
def command(output: Output, given: Given, named: tuple[str, ...]) -> None:
    """List the devices within reach, and what they lack.

    Of this machine, every --device, and those of the configuration's target and targets it tells runtimes and their
    versions, the processor and its temperature. Ends with 3 when one of them cannot be reached.
    """
    from concurrent.futures import ThreadPoolExecutor

    from deployprune.backends.registry import device_of
    from deployprune.errors import DeviceError
    from deployprune.reporting.pages import render_devices

    wanted = ["local", *(target.device for target in given.load().budgets), *named]
    devices = [device_of(url) for url in dict.fromkeys(wanted)]
    with ThreadPoolExecutor(len(devices)) as pool:
        surveys = list(pool.map(lambda device: device.survey(), devices))
    output.show(surveys, lambda: render_devices(surveys))
    if any(survey.problem for survey in surveys):
        click.get_current_context().exit(DeviceError.exit_code)
