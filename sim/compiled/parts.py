"""How functions are compiled that compiled functions alone call: no further than they are needed.

numba optimises each function with all that it calls, makes machine code of it, and so does the work
of the callers' again. What is called here goes into its callers unoptimised, and is optimised once,
with them.
"""

from __future__ import annotations

import importlib
from typing import Any

import numba.core.codegen
import numba.core.compiler
import numba.core.compiler_machinery
import numba.core.typed_passes

_codegen: Any = numba.core.codegen  # numba has no types
_dynfunc: Any = importlib.import_module("numba._dynfunc")
_compiler: Any = numba.core.compiler
_machinery: Any = numba.core.compiler_machinery
_passes: Any = numba.core.typed_passes


class _Library(_codegen.JITCodeLibrary):  # type: ignore[misc]
    """Intermediate code of a function and of those that it calls, for linking alone."""

    def finalize(self) -> None:
        """Link what the function calls, and do nothing else."""
        self._raise_if_finalized()
        for library in dict.fromkeys(self._linking_libraries):
            self._reload_init.update(library._reload_init)
            self._final_module.link_in(library._get_module_for_linking(), preserve=True)
        self._final_module.verify()
        self._finalized = True


@_machinery.register_pass(mutates_CFG=True, analysis_only=False)
class _Lowering(_passes.NativeLowering):  # type: ignore[misc]
    """numba's lowering, without machine code at its end."""

    _name = "part_lowering"

    def run_pass(self, state: Any) -> bool:
        """Write the intermediate code of a function."""
        context, codegen = state.targetctx, state.targetctx.codegen()
        state.library = library = _Library(codegen, state.func_id.func_qualname)
        state.flags.no_compile = True
        super().run_pass(state)
        lowered = state["cr"]
        name = lowered.fndesc.qualname.split(".")[-1]
        known_by = _dynfunc.make_function(
            lowered.fndesc.lookup_module(), name, name, 0, lowered.env, (library,)
        )
        context.insert_user_function(known_by, lowered.fndesc, [library])
        state.reload_init.extend(library._reload_init)
        state["cr"] = lowered._replace(cfunc=known_by)
        return True


class PartCompiler(_compiler.CompilerBase):  # type: ignore[misc]
    """The pipeline of such a function."""

    def define_pipelines(self) -> Any:
        """Return numba's pipeline with the lowering from here."""
        pipeline = _compiler.DefaultPassBuilder.define_nopython_pipeline(self.state)
        pipeline.passes = [
            (_Lowering if each is _passes.NativeLowering else each, told)
            for each, told in pipeline.passes
        ]
        pipeline._finalized = False
        pipeline.finalize()
        return [pipeline]
