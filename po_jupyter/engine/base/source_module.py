"""Modules made of text: the code that comes with a run's definition, loaded in its worker."""

from __future__ import annotations

import re
import sys
import types

from po_jupyter.engine.base.tracebacks import SOURCE_FILENAME, register_source


def load_source(task: str, source: str, *, prefix: str = "po_task_") -> types.ModuleType:
    """The module whose text is `source`; it runs. Raises what the code raises, SystemExit too."""
    filename = SOURCE_FILENAME.format(task)
    module = types.ModuleType(prefix + re.sub(r"\W", "_", task))
    module.__file__ = filename
    register_source(filename, source)
    sys.modules[module.__name__] = module  # dataclasses and typing look their module up by name
    # Without the `from __future__` of this module: people's annotations are what they wrote.
    code = compile(source, filename, "exec", dont_inherit=True)
    exec(code, module.__dict__)  # noqa: S102  # the author's own code, in a worker
    return module
