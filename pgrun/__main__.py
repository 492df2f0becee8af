"""``python -m pgrun`` is ``pgrun``."""

from pgrun.cli import main

if __name__ == "__main__":
    main()
