"""What a compiled kernel holds: all that it calls, and nothing that any other has.

Numba compiles every function to machine code of its own, also one that only other kernels call,
and links copies of these into each caller as weak symbols. Which copy runs is settled when the
code is loaded: a process that has just compiled a kernel calls those made on the way, one that
loads it from disk calls the kernel's own. The optimiser saw the two in different surroundings and
orders their sums differently, so the last digits of a run would depend on who compiled. Here a
kernel's copies are local to it, and what only kernels call is neither optimised nor compiled by
itself, which takes a third less time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import llvmlite.binding as llvm
from numba.core import compiler
from numba.core.codegen import JITCodeLibrary


class _EntryLibrary(JITCodeLibrary):
    def _finalize_final_module(self) -> None:
        for function in self._final_module.functions:
            if not function.is_declaration and function.linkage == llvm.Linkage.linkonce_odr:
                function.linkage = llvm.Linkage.internal
        super()._finalize_final_module()


class _InnerLibrary(JITCodeLibrary):
    """Intermediate code alone, to be linked into kernels."""

    def _optimize_final_module(self) -> None:
        """The kernel that it is linked into is optimised as a whole."""

    def _finalize_final_module(self) -> None:
        self._finalize_dynamic_globals()
        self._verify_declare_only_symbols()
        # numba writes the address of a function's environment into this variable of the process.
        names = [variable.name for variable in self._final_module.global_variables]
        own = [name for name in names if name.startswith('_ZN08NumbaEnv')]
        lines = [f'@"{name}" = common global i8* null' for name in own]
        self._codegen._add_module(llvm.parse_assembly('\n'.join(lines)))
        self._codegen._engine.finalize_object()
        self._finalized = True


class _Compiler(compiler.Compiler):
    library_class: type[JITCodeLibrary]

    def compile_extra(self, func: Callable) -> Any:
        state = self.state
        state.library = self.library_class(state.targetctx.codegen(), func.__qualname__)
        state.library.enable_object_caching()
        return super().compile_extra(func)


class EntryCompiler(_Compiler):
    """``pipeline_class`` of a kernel that Python calls."""

    library_class = _EntryLibrary


class InnerCompiler(_Compiler):
    """``pipeline_class`` of a function that only kernels call; no machine code of its own."""

    library_class = _InnerLibrary
