"""The check of a pipeline's templates before a run: names that are not defined. Nothing is rendered here."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping

from jinja2 import TemplateSyntaxError, nodes

from po_jupyter.engine.prompts.templates import ENVIRONMENT, GLOBALS, expression_of
from po_jupyter.errors import TemplateFailed, Violation
from po_jupyter.model.pipeline.pipeline import Pipeline, Task
from po_jupyter.model.pipeline.violations import did_you_mean
from po_jupyter.model.values.json import JsonValue

_ALWAYS = ("seed", "seed_name", "tasks", "config", "run")
_METHODS = frozenset({"get", "items", "keys", "values"})


def templates_of(task: Task) -> Iterator[tuple[str, str]]:
    """(field, text) of every template of a task; `for_each` is an expression, not a text."""
    if task.system is not None:
        yield "system", task.system
    if isinstance(task.prompt, str):
        yield "prompt", task.prompt
    for i, turn in enumerate(task.prompt or () if not isinstance(task.prompt, str) else ()):
        yield f"prompt[{i}].content", turn.content
    for i, image in enumerate(task.images):
        yield f"images[{i}]", image
    if task.for_each is not None:
        yield "for_each", task.for_each
    if task.refine.critique is not None:
        yield "refine.critique", task.refine.critique


def check_templates(pipeline: Pipeline, seed_data: Mapping[str, JsonValue] | None = None) -> list[Violation]:
    """Every violation in the templates of `pipeline`; `where` is `tasks[i].field`, `line` is in the template.

    Without `seed_data` the seed's keys are not checked. A key behind `is defined`, `default` or inside an
    `{% if %}` may be missing.
    """
    violations: list[Violation] = []
    names = {task.name: i for i, task in enumerate(pipeline.tasks)}
    upstream = _Upstream(pipeline)
    for i, task in enumerate(pipeline.tasks):
        for field, text in templates_of(task):
            path = f"tasks[{i}].{field}"
            try:
                tree = _parse(text, field, task)
            except TemplateSyntaxError as error:
                message = (error.message or "not a template").rstrip(".")
                violations.append(
                    Violation(path, f"task {task.name!r}: the {field} does not parse: {message}", error.lineno)
                )
                continue
            except TemplateFailed as error:
                violations.append(Violation(path, f"{error.message} {error.hint}".strip()))
                continue
            walk = _TemplateWalk(task, field, path, names, upstream, seed_data)
            walk.check(tree)
            violations.extend(walk.violations)
    return violations


def _parse(text: str, field: str, task: Task) -> nodes.Template:
    if field == "for_each":
        text = "{{ " + expression_of(text, task=task.name) + " }}"
    tree = ENVIRONMENT.parse(text)
    ENVIRONMENT.compile(tree)  # finds unknown filters and tests, which parsing does not
    return ENVIRONMENT.parse(text)  # compiling may fold constants into the tree


class _Upstream:
    """The tasks that are finished when another starts, computed once for each task."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._by_task: dict[str, frozenset[str]] = {}

    def of(self, name: str) -> frozenset[str]:
        if name not in self._by_task:
            self._by_task[name] = self._pipeline.upstream_of(name)
        return self._by_task[name]


class _TemplateWalk:
    """The walk over one template. `guarded` is true where the author foresees a missing key."""

    def __init__(
        self,
        task: Task,
        field: str,
        path: str,
        names: Mapping[str, int],
        upstream: _Upstream,
        seed: Mapping[str, JsonValue] | None,
    ) -> None:
        self.task, self.field, self.path = task, field, path
        self.names, self.upstream, self.seed = names, upstream, seed
        self.violations: list[Violation] = []
        self._seen: set[str] = set()
        self.defined = [*_ALWAYS]
        if task.for_each is not None and field != "for_each":
            self.defined += ["item", "index"]
        if field == "refine.critique":
            self.defined += ["output", "violations"]
        self._local: set[str] = set()

    def check(self, tree: nodes.Template) -> None:
        self._local = {n.name for n in tree.find_all(nodes.Name) if n.ctx != "load"}
        self._local |= {n.name for n in tree.find_all(nodes.Macro)} | {"loop", "caller", "varargs", "kwargs"}
        self._visit(tree, guarded=False)

    def _visit(self, node: nodes.Node, guarded: bool) -> None:
        if isinstance(node, nodes.Name):
            if node.ctx == "load":
                self._name(node)
            return
        if isinstance(node, nodes.Sub) and self._hyphenated(node):
            return
        if isinstance(node, nodes.Getattr | nodes.Getitem):
            self._key(node, guarded)
        guarded = guarded or _guards(node)
        for child in _children(node):
            self._visit(child, guarded)

    def _key(self, node: nodes.Getattr | nodes.Getitem, guarded: bool) -> None:
        """Check a key of `tasks` or `seed`."""
        key = _key(node)
        if not isinstance(node.node, nodes.Name) or key is None or node.node.name in self._local:
            return
        if node.node.name == "tasks":
            self._task(key, node.lineno)
        elif node.node.name == "seed" and not guarded:
            self._seed_key(key, node.lineno)

    def _add(self, message: str, line: int) -> None:
        if message not in self._seen:
            self._seen.add(message)
            prefix = f"task {self.task.name!r}: {self.field}: "
            self.violations.append(Violation(self.path, prefix + message, line))

    def _name(self, node: nodes.Name) -> None:
        name = node.name
        if name in self.defined or name in GLOBALS or name in self._local:
            return
        if name in ("item", "index"):
            hint = "; it exists in a task with `for_each`"
        elif name in self.names:
            hint = f"; the output of that task is {_access(name)}"
        elif self.seed is not None and name in self.seed:
            hint = f"; did you mean `seed.{name}`?"
        else:
            hint = did_you_mean(name, self.defined)
        self._add(f"`{name}` is not defined{hint}", node.lineno)

    def _task(self, key: str, line: int) -> None:
        if key in _METHODS and key not in self.names:
            return
        if key not in self.names:
            self._add(f"`tasks.{key}` is not a task{did_you_mean(key, list(self.names))}", line)
        elif key == self.task.name:
            self._add(f"`{_access(key)}` is this very task, which has no output yet", line)
        elif key not in self.upstream.of(self.task.name):
            self._add(f"`{_access(key)}` is not finished before this task; add it to `needs`", line)

    def _seed_key(self, key: str, line: int) -> None:
        if self.seed is not None and key not in self.seed:
            keys = [str(k) for k in self.seed]
            has = f"it has {', '.join(keys[:8])}{', ...' if len(keys) > 8 else ''}" if keys else "it is empty"
            self._add(f"`seed.{key}`: the seed's data has no `{key}` ({has}){did_you_mean(key, keys)}", line)

    def _hyphenated(self, node: nodes.Sub) -> bool:
        """`tasks.deep-dive` parses as a subtraction; say what was meant."""
        name = _dotted(node)
        if name is None:
            return False
        owner, _, rest = name.partition(".")
        if "-" not in rest:
            return False
        defined: Collection[str] = (
            self.names if owner == "tasks" else (self.seed or ()) if owner == "seed" else ()
        )
        candidate = next((k for k in defined if "-" in k and (rest + ".").startswith(k + ".")), None)
        if candidate is None:
            return False
        self._add(
            f'`{owner}.{candidate}` is read as a subtraction; a name with a hyphen is written {owner}["{candidate}"]',
            node.lineno,
        )
        return True


def _guards(node: nodes.Node) -> bool:
    """True when the template allows for a missing name inside of `node`."""
    if isinstance(node, nodes.Test):
        return node.name in ("defined", "undefined")
    if isinstance(node, nodes.Filter):
        return node.name in ("default", "d")
    if isinstance(node, nodes.And | nodes.Or):
        return any(test.name in ("defined", "undefined") for test in node.find_all(nodes.Test))
    return isinstance(node, nodes.If | nodes.CondExpr)


def _children(node: nodes.Node) -> Iterable[nodes.Node]:
    """The nodes to visit below `node`; a method such as `seed.items()` is no key."""
    if isinstance(node, nodes.Call) and isinstance(node.node, nodes.Getattr) and node.node.attr in _METHODS:
        return (node.node.node, *node.args, *node.kwargs)
    return node.iter_child_nodes()


def _key(node: nodes.Getattr | nodes.Getitem) -> str | None:
    if isinstance(node, nodes.Getattr):
        return node.attr
    if isinstance(node.arg, nodes.Const) and isinstance(node.arg.value, str):
        return node.arg.value
    return None


def _access(name: str) -> str:
    return f'tasks["{name}"]' if "-" in name else f"tasks.{name}"


def _dotted(node: nodes.Node) -> str | None:
    if isinstance(node, nodes.Name):
        return node.name
    if isinstance(node, nodes.Getattr):
        owner = _dotted(node.node)
        return None if owner is None else f"{owner}.{node.attr}"
    if isinstance(node, nodes.Sub):
        left, right = _dotted(node.left), _dotted(node.right)
        return None if left is None or right is None else f"{left}-{right}"
    return None
