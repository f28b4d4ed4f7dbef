"""The page of a checkup: places, findings and thumbnails, in one HTML file that needs no network and no script."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from unpaired.doctor.checkup import Checkup
from unpaired.doctor.findings import SEVERITIES, Finding, Item
from unpaired.errors import UnpairedError
from unpaired.images import Image, is_image_name, read_image
from unpaired.pages.html_pages import escaped, html_page, image_uri, status_terms, table_row, terms, write_page
from unpaired.scanning.predicates import over_background
from unpaired.scanning.thumbnails import thumbnail
from unpaired.words import counted

MOST_THUMBNAILS = 24
"""Number of thumbnails per finding."""

_SIDE = 112
_MOST_NAMES = 60
_WHITE = (255, 255, 255)


def write_sheet(path: Path, checkup: Checkup) -> None:
    """Write the page atomically. Raises OutputError if the place refuses it, StorageError on a full disk.

    Its images are read again, so that a check of many thousands needs no memory for them.
    """
    text = html_page(
        "unpaired.doctor",
        "sheet.html",
        f"Data check: {checkup.title}",
        counts=status_terms({f"{severity}s": checkup.count(severity) for severity in SEVERITIES}),
        places="".join(_row(scan.facts()) for scan in checkup.scans),
        findings="".join(map(_section, checkup.findings)) or '<p class="dim">Nothing was found.</p>',
    )
    write_page(path, text)


def _row(facts: Mapping[str, Any]) -> str:
    sides = facts["shorter_side"]
    cells = (
        facts["place"],
        f"{facts['images']:,} of {facts['files']:,}",
        _counted(facts["formats"]),
        _counted(facts["modes"]),
        f"{sides[0]} / {sides[1]} / {sides[2]}" if sides else "",
    )
    return table_row(cells)


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name or 'other'} {count:,}" for name, count in counts.items())


def _section(finding: Finding) -> str:
    fault = finding.fault
    count = counted(finding.num_files, "file")
    about = escaped(finding.place) + (f", {count}" if finding.num_files else "")
    heading = f"<h3><b>{fault.severity}</b> {escaped(fault.title)} <span>{about}</span></h3>"
    advice = terms({"Training": fault.training, "Remedy": fault.remedy})
    items = "".join(_shown_items(finding.items))
    return f'<section class="{fault.severity}">{heading}<dl>{advice}</dl>{items}</section>'


def _shown_items(items: list[Item]) -> Iterable[str]:
    """Yield the items: the first ones with thumbnails, further ones by name, the rest as a number."""
    pictures, names, shown_items = 0, list[str](), 0
    yield '<div class="items">'
    for item in items:
        made = [_picture(path) for path in item.paths[: MOST_THUMBNAILS - pictures]]
        if any(made):
            pictures += len(made)
            yield _figure(item, made)
        elif len(names) < _MOST_NAMES:
            names.append(f"<li>{_caption(item)}</li>")
        else:
            continue
        shown_items += 1
    yield f"</div>{'<ul>' + ''.join(names) + '</ul>' if names else ''}"
    if shown_items < len(items):
        yield f'<p class="dim">And {len(items) - shown_items:,} more; --json has them all.</p>'


def _figure(item: Item, pictures: list[str]) -> str:
    return f"<figure><div>{''.join(pictures)}</div><figcaption>{_caption(item)}</figcaption></figure>"


def _caption(item: Item) -> str:
    names = ", ".join(f"{path.parent.name}/{path.name}" for path in item.paths[:8])
    more = f" and {len(item.paths) - 8} more" if len(item.paths) > 8 else ""
    return escaped(names + more) + (f"<i>{escaped(item.detail)}</i>" if item.detail else "")


def _picture(path: Path) -> str:
    """Return an img element with the thumbnail of a file, or "" if it cannot be read."""
    if not is_image_name(path) or not path.is_file():
        return ""
    try:
        image = over_background(read_image(path), _WHITE)
        scale = _SIDE / max(image.height, image.width)
        size = max(round(image.height * scale), 1), max(round(image.width * scale), 1)
        encoded = io.BytesIO()
        Image(thumbnail(image, size)).to_pil().save(encoded, format="JPEG", quality=80)
    except UnpairedError:
        return ""
    uri = image_uri(encoded.getvalue(), "jpeg")
    return f'<img src="{uri}" width="{size[1]}" height="{size[0]}" alt="{escaped(path.name)}">'
