"""Docstrings in the reference: their style, signatures of the core, names without a module, and a check that no public name is missing."""

from __future__ import annotations

import ast
import builtins
import collections.abc
import importlib
import inspect
import re
import sys
import typing
from dataclasses import is_dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from docutils.nodes import Element, Node, TextElement
from pygments.lexers.special import TextLexer
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.ext.napoleon import Config, GoogleDocstring
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective
from sphinx.util.nodes import make_refnode

import mintws.asyncio
from mintws import _core

logger = logging.getLogger(__name__)

#: The modules whose public names each have a place in the reference.
MODULES = ["mintws", "mintws.asyncio", "mintws.trio", "mintws.sync", "mintws.asgi", "mintws.uvicorn"]
#: Where a name without a module is looked for, after the module in whose docstring it is.
HOMES = [*MODULES, "mintws.events", "mintws.session", "mintws.connection", "mintws.http1"]
#: Modules of others, and names of Python's that stand without a module.
OTHERS = {*sys.stdlib_module_names, "h11", "h2", "trio", "typing_extensions", "uvicorn"}
PYTHON = {*dir(builtins), *typing.__all__, *collections.abc.__all__}
#: Types in signatures that no program has to name.
ANONYMOUS = {"Batch", "Buffer", "Config", "CookieJar", "Opened", "Pool", "ServerState", "ThreadTransport", "W"}
#: Methods and properties without an underscore that are for the layers above, and none of the public interface.
INTERNAL = {"about", "fill", "life_signs", "of_http", "of_socks"}
STUB = Path(_core.__file__).with_name("_core.pyi")


class Docstring(GoogleDocstring):
    """A docstring in Google's style, whose results may have names as arguments have."""

    def _parse_attributes_section(self, section: str) -> list[str]:
        fields = [(name, text) for names, _, text in self._consume_fields() for name in names.split(", ")]
        return [*(line for name, text in fields for line in self._format_block(f":ivar {name}: ", text)), ""]

    def _parse_returns_section(self, section: str) -> list[str]:
        lines = self._dedent(self._consume_to_next_section())
        if not all(re.match(r"\w+: ", line) for line in lines if line[:1].strip()):
            return [*self._format_block(":returns: ", lines), ""]
        items = [re.sub(r"^(\w+): ", r"- **\1** – ", line) for line in lines]
        return [":returns:", *self._indent(items, 4), ""]


def read_docstring(app: Sphinx, what: str, name: str, found: object, options: object, lines: list[str]) -> None:
    """Turn a docstring into reStructuredText."""
    # Names that share a description may go on in the next line.
    text = re.sub(r"(?m)^( +(?:\w+, )+\w+,)\n +(?=(?:\w+, )*\w+: )", r"\1 ", "\n".join(lines))
    # In the docstring of an attribute the words before a colon would be its type.
    kind = "method" if what in ("attribute", "property", "data") else what
    lines[:] = Docstring(text, Config(napoleon_use_ivar=True), app, kind, name, found, options).lines()


def stub_signatures() -> dict[str, tuple[str, str | None]]:
    """Return the arguments and the result of each class and each method of the core, from its stub."""
    given: dict[str, tuple[str, str | None]] = {}
    for node in ast.parse(STUB.read_text(encoding="utf-8")).body:
        for member in node.body if isinstance(node, ast.ClassDef) else []:
            if not isinstance(member, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            if not any(isinstance(it, ast.Name) and it.id == "staticmethod" for it in member.decorator_list):
                del (member.args.posonlyargs or member.args.args)[0]
            arguments = f"({ast.unparse(member.args)})"
            if member.name == "__new__":
                given[node.name] = arguments, None
            else:
                given[f"{node.name}.{member.name}"] = arguments, ast.unparse(member.returns) if member.returns else None
    return given


SIGNATURES = stub_signatures()


def read_signature(
    app: Sphinx, what: str, name: str, found: Any, options: object, signature: str | None, result: str | None
) -> tuple[str, str | None] | None:
    """Return a signature of the core with its types, and an empty one for a class that only mintws makes."""
    if signature is None:
        return None
    if inspect.isclass(found):
        if getattr(_core, found.__name__, None) is found:
            return SIGNATURES.get(found.__name__)
        made = "Args:" in (found.__doc__ or "") or is_dataclass(found)
        return re.sub("<[^<>]*>", "...", signature) if made else "", None
    owner = getattr(found, "__objclass__", None)
    return None if owner is None else SIGNATURES.get(f"{owner.__name__}.{found.__name__}")


def skip(app: Sphinx, what: str, name: str, found: Any, skipped: bool, options: object) -> bool | None:
    """Leave out members that are internal."""
    if what not in ("class", "exception"):
        return None
    # The docstring of a named tuple has its fields.
    if type(found).__name__ == "_tuplegetter":
        return True
    # A class of a driver names its public attributes in its docstring: comments are on internal ones.
    shown = callable(found) or isinstance(found, property) or app.env.current_document.autodoc_module == "mintws"
    return None if shown and not {name, getattr(found, "__qualname__", name)} & INTERNAL else True


def resolve(app: Sphinx, env: BuildEnvironment, node: pending_xref, text: TextElement) -> Element | None:
    """Resolve a name of Python that stands without its module, or with the one in which it is defined."""
    if node.get("refdomain") != "py":
        return None
    target = node["reftarget"]
    domain = env.domains.python_domain
    name = target.rpartition(".")[2]
    for home in [node.get("py:module"), *HOMES]:
        full = f"{home}.{name if target.startswith('mintws.') else target}"
        if full in domain.objects:
            found = domain.objects[full]
            return make_refnode(app.builder, node["refdoc"], found.docname, found.node_id, [text], full)
    # What is in single backticks may also be code.
    if node["reftype"] == "obj" or target in PYTHON or name in ANONYMOUS or target.partition(".")[0] in OTHERS:
        return text
    return None


class Driver(SphinxDirective):
    """`.. driver:: mintws.trio` describes a driver; of what it shares with asyncio's, it tells that it is the same."""

    required_arguments = 1

    def run(self) -> list[Node]:
        """Make the nodes."""
        module = importlib.import_module(self.arguments[0])
        shared = [name for name in module.__all__ if getattr(module, name) is getattr(mintws.asyncio, name, None)]
        text = [f".. automodule:: {module.__name__}", f"   :exclude-members: {', '.join(shared)}", ""]
        for name in shared:
            kind = "class" if inspect.isclass(getattr(module, name)) else "function"
            text += [f".. py:{kind}:: {name}", "", f"   The same as :py:obj:`mintws.asyncio.{name}`.", ""]
        return self.parse_text_to_nodes("\n".join(text))


def public(module: ModuleType) -> list[str]:
    """Return the public names of a module: those that it lists, or else those that it defines."""
    defined = [name for name, it in vars(module).items() if getattr(it, "__module__", "") == module.__name__]
    return getattr(module, "__all__", None) or [name for name in defined if not name.startswith("_")]


def check(app: Sphinx, env: BuildEnvironment) -> None:
    """Warn of public names that the reference lacks."""
    objects = env.domains.python_domain.objects
    for name in MODULES:
        for it in public(importlib.import_module(name)):
            if f"{name}.{it}" not in objects:
                logger.warning("%s.%s is public and has no place in docs/reference", name, it)


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect this with the build."""
    app.connect("autodoc-process-docstring", read_docstring)
    app.connect("autodoc-process-signature", read_signature)
    app.connect("autodoc-skip-member", skip)
    app.connect("missing-reference", resolve)
    app.connect("env-check-consistency", check)
    app.add_directive("driver", Driver)
    app.add_lexer("haproxy", TextLexer)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
