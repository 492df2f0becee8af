"""Where a run's scalars may go beside its own folder: one file a tracker, loaded when it is asked for."""
