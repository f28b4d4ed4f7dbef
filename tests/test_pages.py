"""The pages are single files: one skeleton with a strict policy, one escaping, and nothing loaded from elsewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from test_report import Page
from unpaired.errors import OutputError
from unpaired.pages.html_pages import (
    escaped,
    escaped_lines,
    html_page,
    image_uri,
    status_terms,
    table_row,
    terms,
    write_page,
)

SOURCE = Path(__file__).parent.parent / "src" / "unpaired"
TEMPLATES = sorted(path for path in SOURCE.rglob("*.html") if path.name != "skeleton.html")
EVIL = "\"'<script>alert(1)</script>&amp;$title \x1b[31m\udcff"


def filled(template: Path, title: str = "A title") -> str:
    """Return a page whose every part is empty."""
    names = set(re.findall(r"\$(\w+)", template.read_text(encoding="utf-8"))) - {"title"}
    package = ".".join(template.parent.relative_to(SOURCE.parent).parts)
    return html_page(package, template.name, title, **dict.fromkeys(names, ""))


def policy(page: str) -> str | None:
    return next(meta["content"] for meta in Page(page).all("meta") if "http-equiv" in meta)


def test_four_pages_share_the_skeleton() -> None:
    assert [path.name for path in TEMPLATES] == ["report.html", "sheet.html", "page.html", "study.html"]


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_a_page_loads_nothing_and_runs_a_script_only_if_its_template_has_one(template: Path) -> None:
    page = filled(template)
    scripted = "<script>" in template.read_text(encoding="utf-8")
    assert scripted == (template.name in ("report.html", "study.html"))
    own = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    assert policy(page) == (f"{own}; script-src 'unsafe-inline'" if scripted else own)
    for word in ("http:", "https:", "url(", "@import", "<link", "<iframe", "src=", "href="):
        assert word not in page


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_a_page_has_its_title_twice_one_style_and_both_colour_schemes(template: Path) -> None:
    page = filled(template, EVIL)
    elements = Page(page)
    assert [tag for tag, _ in elements.elements].count("style") == 1
    assert page.count(escaped(EVIL)) == 2
    assert "\x1b" not in page
    assert "prefers-color-scheme: dark" in page
    used, defined = set(re.findall(r"var\((--\w[\w-]*)\)", page)), set(re.findall(r"(--\w[\w-]*):", page))
    assert used <= defined | {"--width"}  # which each sample grid sets for itself
    assert page.startswith("<!doctype html>\n")
    assert page.endswith("</body>\n</html>\n")


def test_text_is_shown_and_does_nothing_else() -> None:
    assert escaped("<b> & \"c\" 'd'") == "&lt;b&gt; &amp; &quot;c&quot; &#x27;d&#x27;"
    assert escaped("\x1b[31m\n\udcff") == r"\x1b[31m\n\udcff"
    assert escaped_lines("one\n<two>\x1b") == "one\n&lt;two&gt;\\x1b"
    assert escaped(3) == "3"


def test_rows_and_terms_escape_names_and_values() -> None:
    assert table_row(["<a>", 2]) == "<tr><td>&lt;a&gt;</td><td>2</td></tr>"
    assert terms({"<a>": "&"}) == "<dt>&lt;a&gt;</dt><dd>&amp;</dd>"
    assert (
        terms({"a": 1000}, lambda value: f"{value:,}" if isinstance(value, int) else "x") == "<dt>x</dt><dd>1,000</dd>"
    )
    assert status_terms({"a": 1, "b": 2}) == "<div><dt>a</dt><dd>1</dd></div><div><dt>b</dt><dd>2</dd></div>"


def test_an_image_is_part_of_the_page() -> None:
    assert image_uri(b"abc", "png") == "data:image/png;base64,YWJj"


def test_a_page_is_written_as_utf_8_over_the_one_before_it(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text("before")
    write_page(path, "ü \udcff")
    assert path.read_bytes() == "ü ?".encode()
    with pytest.raises(OutputError, match="nowhere"):
        write_page(tmp_path / "nowhere" / "page.html", "")
