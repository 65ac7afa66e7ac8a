"""The ``deployprune`` command, one module a sub-command."""
