"""``deployprune completion``: the script that lets a shell complete commands and options."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

__all__ = ["command"]


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    """Print the completion script of SHELL.

    \b
    bash: eval "$(deployprune completion bash)"            in ~/.bashrc
    zsh:  eval "$(deployprune completion zsh)"             in ~/.zshrc
    fish: deployprune completion fish | source             in ~/.config/fish/config.fish
    """
    script = get_completion_class(shell)
    if script is None:
        raise click.UsageError(f"no completion for {shell}")
    click.echo(script(ctx.find_root().command, {}, "deployprune", "_DEPLOYPRUNE_COMPLETE").source())
