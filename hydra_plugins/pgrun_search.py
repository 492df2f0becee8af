"""Where Hydra looks for sweepers, and takes them from alone: ``hydra_plugins`` is
shared by all packages that bring some.
"""

import pgrun.runs.search.sweeper


class Optuna(pgrun.runs.search.sweeper.Optuna):
    """``hydra/sweeper=optuna``."""
