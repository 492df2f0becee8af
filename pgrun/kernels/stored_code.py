"""Machine code on disk: one file a kernel, read in milliseconds, compiled by one process while others wait.

What numba keeps holds the code of all kernels that are called, once more in each caller, and what a further
compilation needs. Here a kernel calls another one where it lies: each is compiled once.
"""

from __future__ import annotations

import hashlib
import importlib
import pickle
from contextlib import suppress
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm
import scipy
from filelock import FileLock
from numba.core.caching import CompileResultCacheImpl, FunctionCache
from numba.core.codegen import JITCodeLibrary
from numba.core.event import end_event, start_event
from numba.core.runtime.nrt import rtsys

MISSING = "pgrun:missing"  # the event from when code is missed until it is there

# The kernels in memory: what they are called by in machine code → (module, name, types of the arguments).
IN_MEMORY: dict[str, tuple[str, str, Any]] = {}


def leave_body_out(library: Any) -> None:
    """Have this code called where it lies, and not put into its callers."""
    library._shared_module = llvm.parse_assembly("")


class StoredLibrary(JITCodeLibrary):
    """Machine code that was read."""

    @classmethod
    def _unserialize(cls, codegen: Any, state: tuple[str, bytes, set[str]]) -> StoredLibrary:
        name, machine_code, symbols = state
        library = cls(codegen, name)
        leave_body_out(library)
        library.enable_object_caching()
        library._set_compiled_object(machine_code)
        library._finalize_final_module()
        codegen._engine._defined_symbols |= symbols
        return library


class CodeAlone(CompileResultCacheImpl):
    """What is written of a kernel: a hash of the sources; those that it calls, by symbol; its machine code,
    and the symbols that are defined there; its types.

    Not the Python environments of the functions in it: kernels use none, and to make them numba imports
    modules of its own that only a compilation needs.
    """

    def reduce(self, cres: Any) -> tuple[Any, ...]:
        called, symbols = {}, set()
        module = cres.library._final_module
        for values in (module.functions, module.global_variables):
            for value in values:
                if not value.is_declaration:
                    symbols.add(value.name)
                elif value.name in IN_MEMORY:
                    called[value.name] = IN_MEMORY[value.name]
        (name, _, (machine_code, _)), *types, _ = super().reduce(cres)
        return SOURCES, called, (name, machine_code, symbols), *types, ()

    def rebuild(self, target_context: Any, payload: tuple[Any, ...]) -> Any:
        """The kernel; None where one that it calls has been compiled anew, under another symbol, and where it
        is of other sources: on a full disk an old file is left under a new index.
        """
        sources, called, *compiled = payload
        if sources != SOURCES:
            return None
        for symbol, (module, name, types) in called.items():
            getattr(importlib.import_module(module), name).compile(types)
            if symbol not in IN_MEMORY:
                return None
        codegen = target_context.codegen()
        codegen._library_class = StoredLibrary
        try:
            return super().rebuild(target_context, compiled)
        finally:
            del codegen._library_class  # its class has the usual one


class StoredCode(FunctionCache):
    """The machine code of one kernel, one file for each set of types.

    numba's own cache declares every type and function that numba knows to the compiler before it reads: a
    second in each process. What is not on disk is compiled, and the compiler asks for all that itself.
    """

    _impl_class = CodeAlone

    def __init__(self, function: Any, allocates: bool):
        super().__init__(function)
        self.allocates = allocates
        self._cache_file._source_stamp = SOURCES
        self.turn: FileLock | None = None  # while this process compiles; a child may not use its parent's

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """The kernel for these types of arguments; None where this process is to compile it.

        Of several that ask at the same time one compiles, and the others wait.
        """
        if self.allocates:
            rtsys.initialize(target_context)
        with self._guard_against_spurious_io_errors():
            stored = self.read_stored(sig, target_context)
            if stored is None:
                start_event(MISSING)
                with suppress(OSError, NotImplementedError):  # no locks here: each compiles
                    self._impl.locator.ensure_cache_path()
                    self.turn = FileLock(f"{self._cache_file._index_path}.lock")
                    self.turn.acquire()
                    stored = self.read_stored(sig, target_context)
                if stored is not None:
                    self.end_turn()
            if stored is not None:
                self.note_symbol(sig, stored)
            return stored

    def read_stored(self, sig: Any, target_context: Any) -> Any:
        """The kernel on disk; None where there is none, or none that can be read."""
        try:
            return self._load_overload(sig, target_context)
        except (EOFError, ValueError, pickle.UnpicklingError):
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep what was compiled; where there is no room for it, as long as the process lives."""
        try:
            with suppress(OSError):
                super().save_overload(sig, data)
        finally:
            self.note_symbol(sig, data)
            leave_body_out(data.library)
            self.end_turn()

    def note_symbol(self, sig: Any, compiled: Any) -> None:
        """What the kernel is called by."""
        function = self._py_func
        IN_MEMORY[compiled.fndesc.llvm_func_name] = (function.__module__, function.__name__, sig)

    def end_turn(self) -> None:
        """The code is there: the next process may go on."""
        if self.turn is not None:
            self.turn.release()
            self.turn = None
        end_event(MISSING)


def digest_sources() -> str:
    """A hash of every file of this package, and SciPy's version.

    numba keeps machine code until the file of the function itself changes; but it holds that of the kernels
    called, too, from whichever file. And only when it compiles does numba make sure that it is built for the
    integers of SciPy's BLAS.
    """
    files = sorted(Path(__file__).parent.glob("*.py"))
    contents = [path.read_bytes() for path in files]
    return hashlib.sha256(b"".join([*contents, scipy.__version__.encode()])).hexdigest()


SOURCES = digest_sources()
