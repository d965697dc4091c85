"""The package as a whole: what it exports, what importing it costs, who may import whom."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import mobilesam

ROOT = Path(mobilesam.__file__).parent
REPOSITORY = Path(__file__).parents[1]
STAGES = (
    "data",
    "predict",
    "everything",
    "tracking",
    "evaluate",
    "serve",
    "mcp",
    "widget",
    "engines",
    "shards",
    "annotate",
    "model",
    "train",
    "distill",
    "export",
)
NEEDS_TORCH = ("model", "train", "distill", "export")
NOT_TORCH_FREE = ("__init__", "__main__", "predict.executorch")
TORCH_SIDE = {"torch", "lightning", "onnx", "safetensors", "tensorboard"}

# Imports at module level. Nouns import nouns; each stage adds the stages it may see.
ALLOWED: dict[str, set[str]] = {
    "noun": set(),
    "compat": {"predict", "everything"},
    "cli": set(),
    "data": set(),
    "predict": set(),
    "everything": {"predict"},
    "tracking": {"predict"},
    "evaluate": {"data", "predict", "everything"},
    "serve": {"predict", "everything"},
    "mcp": {"predict", "everything"},
    "widget": {"predict"},
    "engines": set(),
    "shards": {"data", "engines"},
    "annotate": {"data", "predict", "everything", "shards"},
    # The seam lies with its first user: model/backend.py implements predict/backend.py's Protocol.
    "model": {"predict.backend"},
    "train": {"data", "model"},
    "distill": {"data", "model", "shards", "train"},
    "export": {"model", "predict.backend"},
}
# Third parties at module level, and beside them the single modules that have one of their own. What is rarely needed
# or slow to import is imported inside functions, which this does not count.
PICTURES = {"numpy", "cv2", "PIL", "pycocotools"}
THIRD_PARTIES: dict[str, set[str]] = {
    "noun": PICTURES,
    "compat": {"numpy"},
    "cli": {"click", "typer"},
    "data": PICTURES,
    "predict": PICTURES,
    "predict.onnx": {"onnxruntime"},
    "predict.openvino": {"openvino"},
    "predict.litert": {"ai_edge_litert"},
    "predict.executorch": {"executorch", "torch"},  # its Python bindings take and give torch's arrays
    "predict.coreml": {"coremltools"},
    "everything": PICTURES,
    "everything.folder": {"tqdm"},
    "tracking": PICTURES,
    "tracking.folder": {"tqdm"},
    "evaluate": PICTURES,
    "serve": {"cv2", "fastapi", "numpy", "pydantic", "starlette", "uvicorn"},
    "mcp": PICTURES,
    "mcp.server": {"mcp", "pydantic"},
    "mcp.strict": {"mcp", "pydantic"},
    "widget": PICTURES | {"anywidget", "traitlets"},
    "engines": set(),
    "shards": PICTURES,
    "shards.run": {"tqdm"},
    "annotate": PICTURES,
    "model": {"numpy", "torch"},
    "model.checkpoint": {"safetensors"},
    "train": PICTURES | {"torch", "lightning"},
    "train.log": {"tqdm"},
    "recipe": {"cattrs", "tomli", "tomllib"},  # the latter is of the standard library from Python 3.11 on
    "distill": {"numpy", "torch"},
    "export": {"numpy", "torch"},
    "export.onnx": {"onnx"},
    "export.tracing": {"onnx"},
    "export.any_labeling": {"onnx"},
    "export.sam_decoder": {"onnx"},
    "export.small_weights": {"onnx"},
    "export.int8": {"onnx", "onnxruntime"},
    "export.ort": {"onnx", "onnxruntime"},
    "export.openvino": {"openvino"},
    "export.verify": {"onnxruntime"},
}
# Modules that are imported only where their extra is installed.
OPTIONAL = {
    "predict.openvino": "openvino",
    "export.openvino": "openvino",
    "predict.litert": "ai_edge_litert",
    "predict.coreml": "coremltools",
    "serve": "fastapi",
    "mcp.server": "mcp",
    "mcp.strict": "mcp",
    "widget": "anywidget",
}
# Imports inside functions that cross the islands, each for a reason its module states.
DEFERRED = {
    "predict.load": {"model", "export", "predict"},
    # Masks of the exported files are compared in the backend that will run them.
    **{f"export.{name}": {"predict"} for name in ("onnx", "ort", "openvino", "litert", "executorch", "coreml")},
    "evaluate.bench_exports": {"export", "model"},  # what is measured is exported first
}


def modules() -> dict[str, Path]:
    """Dotted name below the package → file."""
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        name = ".".join(part for part in parts if part != "__init__")
        found[name or "__init__"] = path
    return found


def kind(module: str) -> str:
    first = module.split(".")[0]
    return first if first in (*STAGES, "compat", "cli") else "noun"


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def imports(path: Path, *, deferred: bool) -> set[str]:
    """Absolute names imported at module level, or inside functions."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    inside = {n for f in ast.walk(tree) if isinstance(f, ast.FunctionDef) for n in ast.walk(f)}
    typing = {n for i in ast.walk(tree) if is_type_checking(i) for n in ast.walk(i)}
    names = set()
    for node in ast.walk(tree):
        if node in typing or (node in inside) != deferred:
            continue
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def stages_of(names: set[str]) -> set[str]:
    """The parts of this package among imported names, as "stage.module"."""
    inner = {name.removeprefix("mobilesam.") for name in names if name.startswith("mobilesam.")}
    return {name for name in inner if name.split(".")[0] in STAGES}


@pytest.mark.parametrize("name", modules())
def test_each_module_imports_only_what_its_layer_may_see(name: str) -> None:
    path = modules()[name]
    allowed = ALLOWED[kind(name)] | {kind(name)}
    for imported in stages_of(imports(path, deferred=False)):
        assert any(imported == a or imported.startswith(a + ".") for a in allowed), f"{name} imports {imported}"
    may_defer = set(STAGES) if kind(name) == "cli" else DEFERRED.get(name, set()) | allowed
    for imported in stages_of(imports(path, deferred=True)):
        assert imported.split(".")[0] in may_defer, f"{name} imports {imported} inside a function"


def third_parties(names: set[str]) -> set[str]:
    """Packages among imported names that are neither this one nor of the standard library."""
    return {name.split(".")[0] for name in names} - set(sys.stdlib_module_names) - {"mobilesam"}


@pytest.mark.parametrize("name", modules())
def test_each_module_imports_only_the_third_parties_of_its_stage(name: str) -> None:
    if name in ("__init__", "__main__"):
        allowed: set[str] = set()
    else:
        allowed = THIRD_PARTIES[kind(name)] | THIRD_PARTIES.get(name, set())
    unlisted = third_parties(imports(modules()[name], deferred=False)) - allowed
    assert not unlisted, f"{name} imports {unlisted}; list it in THIRD_PARTIES, or import it inside a function"


def test_the_third_party_test_can_fail(tmp_path: Path) -> None:
    bad = tmp_path / "bad.py"
    bad.write_text("import os\nimport matplotlib.pyplot as plt\nimport mobilesam.masks\ndef f():\n    import torch\n")
    assert third_parties(imports(bad, deferred=False)) == {"matplotlib"}
    assert "matplotlib" not in THIRD_PARTIES["noun"]


def test_the_layer_test_can_fail(tmp_path: Path) -> None:
    bad = tmp_path / "bad.py"
    bad.write_text("from mobilesam.model.sam import Sam\ndef f():\n    import mobilesam.train.loop\n")
    assert stages_of(imports(bad, deferred=False)) == {"model.sam.Sam"}
    assert stages_of(imports(bad, deferred=True)) == {"train.loop"}


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)


def test_every_torch_free_module_imports_with_torch_blocked() -> None:
    torch_free = [n for n in modules() if kind(n) not in NEEDS_TORCH and n not in NOT_TORCH_FREE]
    missing = {name for name, module in OPTIONAL.items() if not find_spec(module)}
    torch_free = [n for n in torch_free if not any(n == name or n.startswith(f"{name}.") for name in missing)]
    code = f"""
import sys, importlib
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {TORCH_SIDE!r}:
            raise ImportError(name + " is blocked")
sys.meta_path.insert(0, Blocked())
for name in {torch_free!r}:
    importlib.import_module("mobilesam." + name)
import mobilesam
found = mobilesam.load().embed({str(REPOSITORY / "examples" / "coffee.png")!r}).predict(points=[(300, 180)])
assert found.masks.shape == (3, 400, 600)
assert not set(sys.modules) & {TORCH_SIDE!r}
"""
    result = run(code)
    assert result.returncode == 0, result.stderr


def test_importing_the_package_loads_no_dependency_and_warns_of_nothing() -> None:
    result = run("import sys, mobilesam; print(' '.join(sys.modules))")
    assert result.returncode == 0, result.stderr
    assert not result.stderr
    assert not set(result.stdout.split()) & {"numpy", "cv2", "PIL", "onnxruntime", "torch", "pooch", "typer"}


def test_help_loads_neither_torch_nor_onnxruntime() -> None:
    code = """
import sys
sys.argv = ["mobilesam", "segment", "--help"]
from mobilesam.cli import main
try:
    main()
except SystemExit as stop:
    assert stop.code == 0
assert not {"torch", "onnxruntime", "numpy", "cv2"} & set(sys.modules), "heavy import"
"""
    result = run(code)
    assert result.returncode == 0, result.stderr
    assert "--point" in result.stdout


def test_segmenting_does_not_pay_for_the_reader_of_settings_and_for_downloads() -> None:
    photo = str(ROOT.parents[1] / "examples" / "coffee.png")
    code = f"""
import sys, tempfile
sys.argv = ["mobilesam", "segment", {photo!r}, "--point", "290,120", "-o", tempfile.mkdtemp()]
from mobilesam.cli import main
try:
    main()
except SystemExit as stop:
    assert not stop.code
assert "onnxruntime" in sys.modules
unused = {{"cattrs", "cattr", "attr", "attrs", "tomllib", "mobilesam.recipe", "mobilesam.settings"}}
unused |= {{"pooch", "requests", "urllib.request", "http.client"}}
assert not unused & set(sys.modules), "paid for"
"""
    result = run(code)
    assert result.returncode == 0, result.stderr


def test_the_version_is_that_of_the_topmost_changes() -> None:
    changes = (REPOSITORY / "CHANGELOG.md").read_text(encoding="utf-8")
    found = re.search(r"^## (\S+)( \(unreleased\))?", changes, re.MULTILINE)
    assert found
    assert mobilesam.__version__ == found[1] + (".dev0" if found[2] else "")


def test_all_names_what_can_be_imported() -> None:
    assert set(mobilesam.__all__) == set(mobilesam._HOMES) | {"__version__"}
    for name in mobilesam.__all__:
        assert getattr(mobilesam, name) is not None
    with pytest.raises(AttributeError, match="no_such_thing"):
        _ = mobilesam.no_such_thing


def test_one_type_alone_is_called_mask() -> None:
    named = set()
    for name, path in modules().items():
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
            here = [getattr(target, "id", None) for target in targets] + [getattr(node, "name", None)]
            named |= {name} if "Mask" in here else set()
    assert named == {"predict.results"}
