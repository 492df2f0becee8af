"""pgrun from Python: the commands as functions, and what they leave as records."""

import sys

from pgrun.terminal.libraries import is_portable, pin_processor

if is_portable() and "numpy" not in sys.modules:  # the modules of this package load it
    pin_processor()
