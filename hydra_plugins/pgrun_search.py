"""Where Hydra looks for sweepers, and takes them from alone: ``hydra_plugins`` is shared by all packages that bring some."""

import pgrun.search.sweeper


class Optuna(pgrun.search.sweeper.Optuna):
    """``hydra/sweeper=optuna``."""
