"""``python -m deployprune`` is the ``deployprune`` command."""

from deployprune.cli.main import main

if __name__ == "__main__":
    main()
