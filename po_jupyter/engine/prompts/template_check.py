"""The check of a pipeline's templates before a run: names that are not defined, keys that the first rows do not have.

Nothing is rendered here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from jinja2 import TemplateSyntaxError, nodes

from po_jupyter.engine.prompts.condition import NAMES as CONDITION_NAMES
from po_jupyter.engine.prompts.condition import is_expression
from po_jupyter.engine.prompts.parsed_template import ParsedTemplate, names_in, parsed_template
from po_jupyter.engine.prompts.template_fields import (
    JUDGE_NAMES,
    WITHOUT_ITEM,
    items_of,
    output_of,
    rows_of,
    sees_answer,
    templates_of,
)
from po_jupyter.engine.prompts.template_samples import (
    NOT_KNOWN,
    UNKNOWN,
    Samples,
    SampleScope,
    answer_samples,
    attribute_of,
    key_of,
)
from po_jupyter.engine.prompts.templates import (
    GLOBALS,
    TOO_DEEP,
    braces_hint,
    expression_of,
    too_deep,
)
from po_jupyter.errors import TemplateFailed, Violation
from po_jupyter.model.pipeline.evals.confidence import with_confidence
from po_jupyter.model.pipeline.pipeline import Pipeline, Task
from po_jupyter.model.pipeline.violations import did_you_mean
from po_jupyter.model.values.json import JsonValue

_ALWAYS = ("seed", "seed_name", "tasks", "config", "run")
_METHODS = frozenset({"get", "items", "keys", "values"})


def check_templates(pipeline: Pipeline, seed_data: Mapping[str, JsonValue] | None = None) -> list[Violation]:
    """Every violation in the templates of `pipeline`; `where` is `tasks[i].field`, `line` is in the template.

    Without `seed_data` keys of the seed and of its rows are not checked. A key behind `is defined`, `default` or inside
    an `{% if %}` may be missing, and so may one that some of the first rows have.
    """
    violations: list[Violation] = []
    names = {task.name: i for i, task in enumerate(pipeline.tasks)}
    upstream = _Upstream(pipeline)
    scope = _scope(pipeline, seed_data)
    for i, task in enumerate(pipeline.tasks):
        rows = rows_of(task, scope)
        for field, text in templates_of(task):
            path = f"tasks[{i}].{field}"
            try:
                template = _parse(text, field, task)
            except TemplateSyntaxError as error:
                message = (error.message or "not a template").rstrip(".")
                text = f"task {task.name!r}: the {field} does not parse: {message}"
                hint = "" if is_expression(field) else braces_hint(error)
                violations.append(Violation(path, f"{text}. {hint}" if hint else text, error.lineno))
                continue
            except TemplateFailed as error:
                violations.append(Violation(path, f"{error.message} {error.hint}".strip()))
                continue
            except TOO_DEEP:
                violations.append(Violation(path, too_deep(task.name, field).message))
                continue
            items = items_of(task, field, rows, scope)
            walk = _TemplateWalk(task, field, path, names, upstream, seed_data, scope, items)
            walk.check(template)
            violations.extend(walk.violations)
    return violations


def _scope(pipeline: Pipeline, seed_data: Mapping[str, JsonValue] | None) -> SampleScope:
    """The samples of `seed` and `tasks` before the run."""
    outputs: dict[str, object] = {task.name: UNKNOWN for task in pipeline.tasks}
    scope = SampleScope({"tasks": (outputs,), "seed": NOT_KNOWN if seed_data is None else (seed_data,)})
    for task in pipeline.tasks:
        outputs[task.name] = output_of(task, rows_of(task, scope), scope)
    return scope


def _parse(text: str, field: str, task: Task) -> ParsedTemplate:
    if is_expression(field):
        text = "{{ " + expression_of(text, task=task.name, field=field) + " }}"
    return parsed_template(text)


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
        scope: SampleScope,
        rows: Samples,
    ) -> None:
        self.task, self.field, self.path = task, field, path
        self.names, self.upstream, self.seed = names, upstream, seed
        self.violations: list[Violation] = []
        self._seen: set[str] = set()
        self.defined = [*_ALWAYS]
        if task.for_each is not None and field not in WITHOUT_ITEM:
            self.defined += ["item", "index"]
            scope = scope.bound(nodes.Name("item", "store"), rows)
        if field.endswith((".when", ".expect")):
            self.defined = [name for name in CONDITION_NAMES if task.for_each or name not in ("item", "index")]
            scope = scope.bound(nodes.Name("output", "store"), answer_samples(with_confidence(task)))
        if sees_answer(task, field):
            self.defined.append("output")
            scope = scope.bound(nodes.Name("output", "store"), answer_samples(with_confidence(task)))
        if field.endswith(".judge"):
            self.defined = [name for name in JUDGE_NAMES if task.for_each or name not in ("item", "index")]
            scope = scope.bound(nodes.Name("output", "store"), answer_samples(with_confidence(task)))
        if field == "refine.critique":
            self.defined += ["output", "violations"]
        self._local: frozenset[str] = frozenset()
        self._scope = scope
        self._looped: frozenset[str] = frozenset()  # names of the loops around
        self._assigned: frozenset[str] = frozenset()

    def check(self, template: ParsedTemplate) -> None:
        self._local, self._assigned = template.local, template.assigned
        self._visit(template.tree, guarded=False)

    def _visit(self, node: nodes.Node, guarded: bool) -> None:
        if isinstance(node, nodes.Name):
            if node.ctx == "load":
                self._name(node)
            return
        if isinstance(node, nodes.Sub) and self._hyphenated(node):
            return
        if isinstance(node, nodes.For):
            self._loop(node, guarded)
            return
        if isinstance(node, nodes.Getattr | nodes.Getitem):
            self._key(node, guarded)
        if isinstance(node, nodes.Filter) and not guarded:
            self._attribute(node)
        guarded = guarded or _guards(node)
        for child in _children(node):
            self._visit(child, guarded)

    def _key(self, node: nodes.Getattr | nodes.Getitem, guarded: bool) -> None:
        """Check a key of `tasks`, of `seed`, of a row or of a value in one."""
        key, owner = key_of(node), node.node
        root = owner
        while isinstance(root, nodes.Getattr | nodes.Getitem):
            root = root.node
        if key is None or (
            isinstance(root, nodes.Name) and root.name in self._local and root.name not in self._looped
        ):
            return
        name = owner.name if isinstance(owner, nodes.Name) and owner.name not in self._looped else None
        if name == "tasks":
            self._task(key, node.lineno)
        elif guarded:
            return
        elif name == "seed":
            self._seed_key(key, node.lineno)
        else:
            self._sample_key(node, key)

    def _loop(self, node: nodes.For, guarded: bool) -> None:
        """Visit a loop; inside of it, its name is an element of what it loops over."""
        self._visit(node.iter, guarded)
        outer = self._scope, self._looped
        self._scope = self._scope.bound(node.target, self._scope.elements(node.iter))
        self._looped |= {name.name for name in names_in(node.target)} - self._assigned
        if node.test is not None:
            self._visit(node.test, guarded)
        for child in node.body:
            self._visit(child, guarded or node.test is not None)
        self._scope, self._looped = outer
        for child in node.else_:
            self._visit(child, guarded)

    def _sample_key(self, node: nodes.Getattr | nodes.Getitem, key: str) -> None:
        """Report a key that no sample of its owner has, such as none of the first rows."""
        owners = self._scope.samples(node.node)
        if owners and not any(_has(owner, key, isinstance(node, nodes.Getattr)) for owner in owners):
            owner = _text_of(node.node)
            self._add(f"`{owner}.{key}`: {_missing(owners, key, owner)}", node.lineno)

    def _attribute(self, node: nodes.Filter) -> None:
        """Report the attribute of a filter such as `map(attribute="text")` that none of the first rows has."""
        path = attribute_of(node)
        if path is None or node.node is None:
            return
        rows = self._scope.elements(node.node)
        key = path.partition(".")[0]
        if rows and not any(_has(row, key, attribute=True) for row in rows):
            self._add(f"{node.name} of `{key}`: {_missing(rows, key, 'item')}", node.lineno)

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
        elif any(
            isinstance(row, Mapping) and name in row for row in self._scope.samples(nodes.Name("item", "load"))
        ):
            hint = f"; did you mean `item.{name}`?"
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


def _has(owner: object, key: str, attribute: bool) -> bool:
    """Whether a value has that key; `attribute`: in `a.key`, which may be one of its methods too."""
    if isinstance(owner, Mapping) and key in owner:
        return True
    return attribute and hasattr(owner, key)


def _missing(owners: Samples, key: str, name: str) -> str:
    """The message about a key that none of `owners` has; `name` is their expression in the template."""
    rows = name == "item"
    objects = [owner for owner in owners if isinstance(owner, Mapping)]
    if not objects:
        one, many = _kinds(next((owner for owner in owners if owner is not None), None))
        return f"the rows are {many}, without names: `item` is the row" if rows else f"`{name}` is {one}"
    keys = list(dict.fromkeys(str(k) for owner in objects for k in owner))
    has = f"{', '.join(keys[:8])}{', ...' if len(keys) > 8 else ''}" if keys else "nothing"
    message = f"the rows have no `{key}` (they have {has})" if rows else f"there is no `{key}` (it has {has})"
    return message + did_you_mean(key, keys)


def _kinds(value: object) -> tuple[str, str]:
    """The kind of a value as a phrase: of one, and of several."""
    if value is None:
        return "null", "null"
    if isinstance(value, bool):
        return "true or false", "true or false"
    if isinstance(value, str):
        return "text", "text"
    return ("a number", "numbers") if isinstance(value, int | float) else ("a list", "lists")


def _text_of(node: nodes.Node) -> str:
    """An expression as it is written, in short."""
    if isinstance(node, nodes.Name):
        return node.name
    if isinstance(node, nodes.Getattr):
        return f"{_text_of(node.node)}.{node.attr}"
    if isinstance(node, nodes.Getitem):
        part = repr(node.arg.value) if isinstance(node.arg, nodes.Const) else "..."
        return f"{_text_of(node.node)}[{part}]"
    if isinstance(node, nodes.Filter) and node.node is not None:
        return f"({_text_of(node.node)} | {node.name})"
    return "..."


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
