"""``python -m pgrun`` is ``pgrun``."""

from pgrun.cli.main import main

if __name__ == "__main__":
    main()
