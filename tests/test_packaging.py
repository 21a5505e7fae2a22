"""What is in the checkout is in the wheel: folders are packages, and every data file is named."""

import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGES = {
    "llamachat": ROOT / "llamachat",
    "llamachat.themes": ROOT / "themes",
    "llamachat.presets": ROOT / "presets",
    "llamachat.sessions": ROOT / "sessions",
}


def files_by_package():
    for name, folder in PACKAGES.items():
        for path in sorted(folder.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                yield ".".join((name, *path.relative_to(folder).parent.parts)), path


def test_every_folder_of_code_is_a_package():
    folders = {path.parent for _, path in files_by_package() if path.suffix == ".py"}
    assert ROOT / "llamachat" / "chat" / "store" in folders
    assert [folder for folder in folders if not (folder / "__init__.py").exists()] == []


def test_every_data_file_is_shipped():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    patterns = project["tool"]["setuptools"]["package-data"]
    data = [(name, path) for name, path in files_by_package() if path.suffix not in (".py", ".so", ".c", ".o")]
    assert {path.suffix for _, path in data} >= {".toml", ".json", ".tcss", ".pyi"}
    left_out = [path for name, path in data if not any(path.match(pattern) for pattern in patterns.get(name, []))]
    assert left_out == []
