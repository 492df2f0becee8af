"""Several runs that differ in their seed, side by side in one tensor program."""
