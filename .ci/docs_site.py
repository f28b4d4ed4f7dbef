"""Build the documentation site: prepare its pages from docs/ and run the generator on them, strictly.

    python .ci/docs_site.py              writes site/; needs `pip install -e ".[docs]"`

On the forge, pages link to files of the repository (`../benchmarks/speed.md`, `../src/unpaired/errors.py`) and to
folders (`decisions/`). A site generator knows pages in one folder only. Each file that a page links to therefore gets
a page under repository/, and so does each file that these pages link to: Markdown is copied, a notebook becomes its
cells, other text becomes code, a folder becomes the list of its files. The prepared pages are in build/docs, and
mkdocs.yml describes the site made of them; both zensical and mkdocs read it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parent.parent
UNDER = "repository"  # the folder of the site for files that are not in docs/
LANGUAGES = {".py": "python", ".sh": "bash", ".yml": "yaml", ".toml": "toml", ".json": "json"}
BINARY = (".png", ".svg", ".jpg")

_LINK = re.compile(r"(?<=\]\()([^)\s#:]+)(?=[)#])")
_CODE = re.compile(r"^(`{3,}).*?^\1|(?<=\n\n)(?: {4}[^\n]*\n+)+|`[^`\n]+`", flags=re.MULTILINE | re.DOTALL)
_REMOTE = re.compile(
    r"<(?:script|img|iframe)[^>]*\bsrc=[\"']?(?:https?:)?//[^>]*>|<link[^>]*rel=[\"']?stylesheet[^>]*//[^>]*>"
)


class Repository:
    """The files of a repository as pages of the site. `problems` lists links that lead nowhere."""

    def __init__(self, root: Path = ROOT) -> None:
        self.root = root
        self.problems: list[str] = []

    def page_of(self, path: PurePosixPath) -> PurePosixPath:
        """Return the place on the site of a file or folder of the repository."""
        if (self.root / path).is_dir():
            path /= "index.md"
        elif path.suffix not in (".md", *BINARY):
            path = path.with_name(f"{path.name}.md")
        return path.relative_to("docs") if path.is_relative_to("docs") else UNDER / path

    def resolved(self, target: str, source: PurePosixPath) -> PurePosixPath | None:
        """Return the path that a link in the file or folder `source` leads to, or None if nothing is there."""
        folder = source if (self.root / source).is_dir() else source.parent
        path = PurePosixPath(os.path.normpath(folder / target))
        return path if path.parts[0] != ".." and (self.root / path).exists() else None

    def content(self, path: PurePosixPath) -> str:
        """Return a file or folder of the repository as Markdown, its links unchanged."""
        file = self.root / path
        if file.is_dir():
            entries = sorted(item for item in file.iterdir() if item.is_file() and item.name[0] != ".")
            return f"# {path}\n\n" + "".join(f"- [{_title(item)}]({item.name})\n" for item in entries)
        text = file.read_text(encoding="utf-8")
        if path.suffix == ".md":
            return text
        if path.suffix == ".ipynb":
            cells = [(cell["cell_type"], "".join(cell["source"])) for cell in json.loads(text)["cells"]]
            return "\n\n".join(source if kind == "markdown" else _fence(source, "python") for kind, source in cells)
        return f"# {path}\n\n{_fence(text, LANGUAGES.get(path.suffix, 'text'))}"

    def page(self, path: PurePosixPath, text: str) -> tuple[str, list[PurePosixPath]]:
        """Return the text of a page with its links led to pages of the site, and the paths that they lead to."""
        here, found = self.page_of(path).parent, []

        def lead(link: re.Match[str]) -> str:
            target = self.resolved(link[1], path)
            if target is None:
                self.problems.append(f"{path} links to {link[1]}, which does not exist.")
                return link[1]
            found.append(target)
            return PurePosixPath(os.path.relpath(self.page_of(target), here)).as_posix()

        return _outside_code(text, lambda part: _LINK.sub(lead, part)), found

    def write(self, out: Path) -> list[PurePosixPath]:
        """Write every page of the site into the folder `out`; return the files and folders that are shown."""
        shown = [
            PurePosixPath(path.relative_to(self.root).as_posix()) for path in sorted(self.root.glob("docs/**/*.md"))
        ]
        for path in shown:  # grows while pages are written
            file = out / self.page_of(path)
            file.parent.mkdir(parents=True, exist_ok=True)
            if path.suffix in BINARY:
                shutil.copyfile(self.root / path, file)
                continue
            text, found = self.page(path, self.content(path))
            file.write_text(text, encoding="utf-8")
            shown += [target for target in dict.fromkeys(found) if target not in shown]
        return shown


def links(text: str) -> list[str]:
    """Return the relative targets of the links of a page, without their anchors; code holds none."""
    return _LINK.findall(_CODE.sub("", text))


def _outside_code(text: str, change: Callable[[str], str]) -> str:
    """Apply `change` to the text between pieces of code."""
    parts, end = [], 0
    for code in _CODE.finditer(text):
        parts += [change(text[end : code.start()]), code[0]]
        end = code.end()
    return "".join([*parts, change(text[end:])])


def _title(file: Path) -> str:
    """Return the first heading of a Markdown file, or the name of another file."""
    heading = re.search(r"^# (.+)$", file.read_text(encoding="utf-8"), re.MULTILINE) if file.suffix == ".md" else None
    return heading[1] if heading else file.name


def _fence(code: str, language: str) -> str:
    return f"````{language}\n{code.rstrip()}\n````"


def remote(site: Path) -> list[str]:
    """Return what pages of a built site would load from another server when they are opened."""
    return [
        f"{page.relative_to(site)}: {found}"
        for page in sorted(site.rglob("*.html"))
        for found in _REMOTE.findall(page.read_text(encoding="utf-8"))
    ]


def main() -> None:
    """Prepare the pages, build the site and check it; exit with 1 and a sentence for each problem."""
    pages = ROOT / "build" / "docs"
    shutil.rmtree(pages, ignore_errors=True)
    repository = Repository()
    repository.write(pages)
    command = [sys.executable, "-m", "zensical", "build", "--strict", "--clean"]
    if not repository.problems and subprocess.run(command, cwd=ROOT, check=False).returncode:
        repository.problems.append("The site was not built; see above.")
    problems = repository.problems or [f"{found} is loaded from another server." for found in remote(ROOT / "site")]
    sys.exit("\n".join(problems) if problems else None)


if __name__ == "__main__":
    main()
