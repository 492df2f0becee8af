"""Machine code on disk: read in milliseconds, and compiled by one process while others wait for it.

What numba keeps is made to be compiled further; a run has to execute it alone.
"""

from __future__ import annotations

import hashlib
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


class StoredLibrary(JITCodeLibrary):
    """Machine code that was read. Its bitcode is parsed where another kernel has it compiled in."""

    bitcode = b""

    @classmethod
    def _unserialize(cls, codegen: Any, state: tuple[str, bytes, bytes, set[str]]) -> StoredLibrary:
        name, machine_code, bitcode, symbols = state
        library = cls(codegen, name)
        library.bitcode = bitcode
        library.enable_object_caching()
        library._set_compiled_object(machine_code)
        library._finalize_final_module()
        codegen._engine._defined_symbols |= symbols
        return library

    def _get_module_for_linking(self) -> Any:
        if self._shared_module is None:
            self._shared_module = llvm.parse_bitcode(self.bitcode)
        return self._shared_module


class CodeAlone(CompileResultCacheImpl):
    """What is written of a kernel: machine code, bitcode, the names that they define, and its types.

    Not the Python environments of the functions in it: kernels use none, and to make them numba imports
    modules of its own that only a compilation needs.
    """

    def reduce(self, cres: Any) -> tuple[Any, ...]:
        (name, _, (machine_code, bitcode)), *rest, _ = super().reduce(cres)
        module = cres.library._get_module_for_linking()
        symbols = {
            value.name
            for values in (module.functions, module.global_variables)
            for value in values
            if not value.is_declaration
        }
        return (name, machine_code, bitcode, symbols), *rest, ()

    def rebuild(self, target_context: Any, payload: tuple[Any, ...]) -> Any:
        codegen = target_context.codegen()
        codegen._library_class = StoredLibrary
        try:
            return super().rebuild(target_context, payload)
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
        self.turn = FileLock(f"{self._cache_file._index_path}.lock")

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """The kernel for these types of arguments; None where this process is to compile it.

        Of several that ask at the same time one compiles, and the others wait.
        """
        if self.allocates:
            rtsys.initialize(target_context)
        with self._guard_against_spurious_io_errors():
            stored = self._load_overload(sig, target_context)
            if stored is not None:
                return stored
            start_event(MISSING)
            with suppress(OSError, NotImplementedError):  # no locks here: each compiles
                self._impl.locator.ensure_cache_path()
                self.turn.acquire()
                stored = self._load_overload(sig, target_context)
            if stored is not None:
                self.leave()
            return stored

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep what was compiled."""
        try:
            super().save_overload(sig, data)
        finally:
            self.leave()

    def leave(self) -> None:
        """The code is there: the next one's turn."""
        self.turn.release()
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
