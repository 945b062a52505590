"""Imports go down only: `docs/architecture.md` draws the layers, the tables here hold every module to them."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from mintws import session

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "python" / "mintws"

#: From the top down. A module imports from lower lines only; a package counts as one module.
ORDER = (
    ("__main__",),
    ("cli", "uvicorn"),
    ("asgi",),
    ("asyncio", "sync", "trio"),
    ("drivers",),
    ("__init__",),
    ("session", "tls"),
    ("http1", "http2"),
    ("border",),
    ("collector", "connection", "response_order"),
    ("events",),
    ("extensions",),
    ("origin", "url"),
    ("_core",),
    ("arguments", "limits"),
    ("errors",),
    ("headers",),
)
RANK = {name: rank for rank, line in enumerate(reversed(ORDER)) for name in line}

#: What may do I/O and know the time.
DRIVERS = frozenset(name for line in ORDER[: ORDER.index(("__init__",))] for name in line)

#: I/O, threads, clocks and logs.
IO = [
    "anyio",
    "asyncio",
    "concurrent",
    "datetime",
    "logging",
    "multiprocessing",
    "sched",
    "select",
    "selectors",
    "signal",
    "socket",
    "socketserver",
    "ssl",
    "subprocess",
    "threading",
    "time",
    "trio",
    "uvloop",
]

#: Which modules may import these, by the first part of their names.
ONLY_IN = {
    "aiohappyeyeballs": {"asyncio"},
    "h11": {"http1"},
    "h2": {"http2"},
    "idna": {"url"},
    "python_socks": {"session"},
    "uvicorn": {"uvicorn"},
    **dict.fromkeys(IO, DRIVERS),
    "ssl": DRIVERS | {"tls"},
}


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def unit(path: Path) -> str:
    """Name the line of `ORDER` that a file belongs to: its module, or the package that it is in."""
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Give each import as its line and a dotted name; those for type checkers count too."""
    package = ("mintws", *path.relative_to(PACKAGE).parts[:-1])
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) + 1 - node.level] if node.level else ()
            source = ".".join([*start, *filter(None, [node.module])])
            if source == "mintws":
                for alias in node.names:
                    yield node.lineno, f"mintws.{alias.name}"
            else:
                yield node.lineno, source


def target(name: str) -> str:
    """Name the line of `ORDER` that an import from mintws leads to."""
    _, _, rest = name.partition(".")
    first = rest.partition(".")[0]
    inside = (
        first in RANK or (PACKAGE / first).with_suffix(".py").exists() or (PACKAGE / first / "__init__.py").exists()
    )
    return first if first and inside else "__init__"


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_module_imports_from_below_only(path: Path) -> None:
    here = unit(path)
    assert here in RANK, f"{here} is new: say in ORDER where it stands"
    for line, name in imports(path):
        if name.partition(".")[0] != "mintws":
            continue
        there = target(name)
        if there == here and path.name != f"{here}.py":
            continue
        assert there in RANK, f"{there} is new: say in ORDER where it stands"
        assert RANK[there] < RANK[here], f"{path.name}:{line} imports {there}, which does not stand below {here}"


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_libraries_clocks_and_sockets_are_named_where_they_belong(path: Path) -> None:
    for line, name in imports(path):
        first = name.partition(".")[0]
        allowed = ONLY_IN.get(first)
        assert allowed is None or unit(path) in allowed, (
            f"{path.name}:{line} imports {first}: only {sorted(allowed)} may"
        )


def uses_within(package: str) -> dict[str, set[str]]:
    """Give the modules of a package, each with those of the same package that it imports."""
    own = f"mintws.{package}"
    return {
        f"{own}.{path.stem}": {name for _, name in imports(path) if name == own or name.startswith(f"{own}.")}
        for path in (PACKAGE / package).glob("*.py")
    }


def test_parts_of_the_session_layer_use_each_other_one_way_and_no_clock() -> None:
    assert "session" not in DRIVERS
    graph = uses_within("session")
    everything = graph.pop("mintws.session.__init__")
    assert everything == graph.keys(), "drivers find all names in mintws.session"
    assert all(used <= graph.keys() for used in graph.values()), "a part uses other parts, not the whole"
    TopologicalSorter(graph).prepare()


@pytest.mark.parametrize("package", ["http1", "http2"])
def test_parts_of_http_use_each_other_one_way(package: str) -> None:
    graph = uses_within(package)
    assert len(graph) > 2
    TopologicalSorter(graph).prepare()


#: Methods of a connection that are for what carries it, not for users.
OF_CARRIERS = {"_lose", "_receive_early", "_send_by", "_take_replies"}


def private_accesses(path: Path) -> Iterator[str]:
    """Give each private attribute that is read or set of another object than `self`, or of `super()`."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Attribute) or not re.match(r"_(?!_)", node.attr):
            continue
        own = ast.unparse(node.value) in ("self", "cls", "super()")
        if not own and node.attr not in OF_CARRIERS:
            yield f"{path.name}:{node.lineno}: {ast.unparse(node)}"


def test_parts_of_http2_leave_private_attributes_to_their_owners() -> None:
    assert [found for path in (PACKAGE / "http2").glob("*.py") for found in private_accesses(path)] == []


@pytest.mark.parametrize("access", ["http._streams", "self._wire._closed", "stream._leave()", "it().h2._break(x)"])
def test_private_accesses_are_found(tmp_path: Path, access: str) -> None:
    source = tmp_path / "reaches.py"
    source.write_text(
        f"class It:\n    def f(self, it):\n        self._own = super()._own\n        {access}\n", encoding="utf-8"
    )
    assert len(list(private_accesses(source))) == 1


#: What runs on asyncio.
ON_ASYNCIO = [*(PACKAGE / "asyncio").glob("*.py"), *(PACKAGE / "asgi").glob("*.py"), PACKAGE / "uvicorn.py"]

#: Where timers of asyncio are armed: for the deadline of a session, which is the only timer of a transport; for how long a coroutine is
#: waited for that has no transport yet, or many; between two attempts; and for the body of a request to an application of ASGI. Of that
#: only the time counts in which the application waits, so its deadline comes and goes with each wait, of which a session knows nothing.
ARMS_TIMERS = {"timers.py: rearm", "timers.py: limited", "timers.py: pause", "http.py: _set_timer"}


def armed_timers(path: Path) -> Iterator[str]:
    """Give the functions of a file that arm timers of asyncio."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for function in ast.walk(tree):
        if not isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        for call in (node for node in ast.walk(function) if isinstance(node, ast.Call)):
            name = getattr(call.func, "attr", getattr(call.func, "id", ""))
            waits = name == "wait" and any(it.arg == "timeout" for it in call.keywords)
            # A sleep of no time lets others have a turn.
            sleeps = name == "sleep" and ast.unparse(call) != "asyncio.sleep(0)"
            arms = name in ("call_later", "call_at", "timeout", "timeout_at", "wait_for", "as_completed")
            if arms or waits or sleeps:
                yield f"{path.name}: {function.name}"


def test_timers_of_asyncio_are_armed_by_these_functions_alone() -> None:
    assert {name for path in ON_ASYNCIO for name in armed_timers(path)} == ARMS_TIMERS


@pytest.mark.parametrize(
    "call",
    [
        "loop.call_later(1, f)",
        "self.loop.call_at(1, f)",
        "await asyncio.sleep(0.1)",
        "await sleep(wait)",
        "await asyncio.wait([it], timeout=1)",
        "await asyncio.wait_for(it, 1)",
        "async with asyncio.timeout(1): pass",
    ],
)
def test_timers_are_found_however_they_are_armed(tmp_path: Path, call: str) -> None:
    source = tmp_path / "armed.py"
    source.write_text(f"class It:\n    async def waits(self):\n        {call}\n", encoding="utf-8")
    assert list(armed_timers(source)) == ["armed.py: waits"]


def test_what_a_session_says_of_its_deadline_is_obeyed_in_one_place() -> None:
    kinds = (session.TransportSession, session.ServerSession, session.ClientSession)
    methods = [it for kind in kinds for it in vars(kind).values() if inspect.isfunction(it)]
    orders = {it.__name__ for it in methods if it.__annotations__.get("return") in ("Due", "Due | None")}
    assert {"begin", "close", "expire", "part", "schedule"} <= orders
    given: list[str] = []
    obeyed: list[str] = []
    arms: list[str] = []
    for path in [*(PACKAGE / "asyncio").glob("*.py"), PACKAGE / "session" / "drive.py"]:
        for call in (it for it in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(it, ast.Call)):
            name = ast.unparse(call.func)
            if name.removeprefix("self._session.") in orders:
                given.append(ast.unparse(call))
            elif name in ("self.obey", "self._obey"):
                obeyed += map(ast.unparse, call.args)
            elif name.endswith(".arm"):
                arms.append(path.name)
    assert given and [it for it in given if it not in obeyed] == []
    assert arms == ["drive.py"]


def imported_files(path: Path, files: dict[str, Path]) -> Iterator[str]:
    """Give the files that a file imports, and those whose names it imports, by their dotted names; those for type checkers count too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in files)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                names = (f"{node.module}.{alias.name}", node.module or "")
                yield from [name for name in names if name in files][:1]


def test_no_file_imports_another_in_a_circle() -> None:
    files = {
        ".".join(("mintws", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__"): path
        for path in modules()
    }
    files["mintws._core"] = PACKAGE / "_core.pyi"
    graph = {name: {*imported_files(path, files)} - {name} for name, path in files.items() if path.suffix == ".py"}
    assert "mintws.asyncio.websocket" in graph["mintws.asyncio.protocol"]
    assert "mintws.http2.connection" in graph["mintws.http2"]
    TopologicalSorter(graph).prepare()


def test_errors_import_nothing_of_mintws_but_headers() -> None:
    assert [name for _, name in imports(PACKAGE / "errors.py") if name.startswith("mintws")] == ["mintws.headers"]


def test_pyo3_is_named_under_src_py_alone() -> None:
    sources = [path for path in (ROOT / "src").rglob("*.rs") if ROOT / "src" / "py" not in path.parents]
    assert sources
    for path in sources:
        assert not re.search(r"\bpyo3\b", path.read_text(encoding="utf-8")), path.relative_to(ROOT)


def rust_part(path: tuple[str, ...]) -> str:
    """Name the part of the core that a path of modules leads to: a module at the top, or within `py`."""
    return "::".join(path[: 2 if path[0] == "py" else 1])


def rust_uses(source: Path) -> Iterator[str]:
    """Give the parts of the core that a file uses beside its own."""
    here = source.relative_to(ROOT / "src").with_suffix("").parts
    within = here[:-2] if here[-1] == "mod" else here[:-1]
    for start, rest in re.findall(
        r"^\s*(?:pub )?use (crate|super)::([^;]+);", source.read_text(encoding="utf-8"), re.MULTILINE
    ):
        named = re.findall(r"(?:^\{?|, )(\w+)", rest) if rest.startswith("{") else [re.split(r"::", rest)[0]]
        for name in named:
            path = (name,) if start == "crate" else (*within, name)
            if path == ("py",):
                path = ("py", re.split(r"::", rest)[1])
            if (ROOT / "src").joinpath(*path[:2]).with_suffix(".rs").exists() or (ROOT / "src").joinpath(
                *path[:2]
            ).is_dir():
                yield rust_part(path)


def rust_files(source: Path) -> Iterator[str]:
    """Give the files of the core that one uses, by its modules and by paths; what its tests use does not count."""
    text = re.sub(r"//.*", "", source.read_text(encoding="utf-8")).partition("#[cfg(test)]")[0]
    base = ROOT / "src"
    here = source.relative_to(base).with_suffix("").parts
    own = here[:-1] if here[-1] == "mod" else here
    modules = [("self", name) for name in re.findall(r"^(?:pub(?:\(\w+\))? )?mod (\w+);", text, re.MULTILINE)]
    for start, rest in modules + re.findall(r"\b(crate|(?:super::)*super|self)::((?:\w+::)*(?:\w+|\{[^;]*?\}))", text):
        above = start.count("super")
        within = () if start == "crate" else own[: len(own) - above]
        head, brace, inner = rest.partition("{")
        names = re.findall(r"(?:^|[,\s])(\w+(?:::\w+)*)", inner) if brace else [""]
        for name in names:
            path = (*within, *[it for it in f"{head}{name}".split("::") if it])
            for length in range(len(path), 0, -1):
                stem = base.joinpath(*path[:length])
                found = [it for it in (stem.with_suffix(".rs"), stem / "mod.rs") if it.exists()]
                if found:
                    yield str(found[0].relative_to(base))
                    break


#: Files that are one thing: compression, whose parts share its settings; a class and its methods; the driver's classes, which hold each other.
TOGETHER = ("deflate/", "py/driver/", "py/endpoint/")


def test_files_of_the_core_use_each_other_one_way() -> None:
    def node(name: str) -> str:
        return next((it for it in TOGETHER if name.startswith(it)), name)

    graph: dict[str, set[str]] = {}
    for source in (ROOT / "src").rglob("*.rs"):
        here = node(str(source.relative_to(ROOT / "src")))
        graph.setdefault(here, set()).update({node(it) for it in rust_files(source)} - {here})
    assert {"fault.rs", "grammar.rs", "handshake/extension.rs"} <= graph["handshake/fields.rs"]
    assert {"handshake/http1.rs", "handshake/http2.rs"} <= graph["handshake/mod.rs"]
    assert {"py/endpoint/", "turns.rs"} <= graph["py/driver/"]
    TopologicalSorter(graph).prepare()


def test_parts_of_the_core_use_each_other_one_way() -> None:
    graph: dict[str, set[str]] = {}
    for source in (ROOT / "src").rglob("*.rs"):
        here = rust_part(source.relative_to(ROOT / "src").with_suffix("").parts)
        graph.setdefault(here, set()).update(part for part in rust_uses(source) if part != here)
    assert {"decoder", "py::queue"} <= graph["py::endpoint"]
    assert [part for part, used in graph.items() if "py::driver" in used] == []
    TopologicalSorter(graph).prepare()
