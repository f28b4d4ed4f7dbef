"""Whether a run may continue: compares its settings and images with those it was started with."""

from __future__ import annotations

from unpaired.artifacts.changes import Change, fingerprints_change, images_change, masks_change, settings_change
from unpaired.artifacts.history import History
from unpaired.artifacts.part_records import parts_change, read_config, read_origins
from unpaired.artifacts.run_folder import RunFolder
from unpaired.artifacts.run_records import holds_images, read_data, read_images
from unpaired.config import differences
from unpaired.data.domains import Domains
from unpaired.data.sources import ImageList, image_list
from unpaired.monitoring.rewind import remedied
from unpaired.recipe_files import origins_of
from unpaired.recipes import Config
from unpaired.runs.extending import Extension, extension_change, split
from unpaired.selection.early_stopping import with_early_stopping
from unpaired.storage import shown
from unpaired.training.schedule import Schedule


def image_lists(domains: Domains) -> dict[str, ImageList]:
    """Return the files of the training images by domain; none for domain A if it is noise."""
    a, b = domains.train_a, domains.train_b
    list_b = image_list(b)
    if a is None:
        return {"A": {}, "B": list_b}
    return {"A": list_b if a.paths == b.paths else image_list(a), "B": list_b}


def agree(
    folder: RunFolder,
    config: Config,
    domains: Domains,
    images: dict[str, ImageList],
    *,
    data: bool = False,
    settings: bool = False,
    extend: Extension = "",
) -> list[Change]:
    """Return the allowed changes since the run in `folder` was started.

    Raises ConfigError if the settings changed and neither `settings` nor `extend` allows it, DataError if the images
    changed and `data` does not allow it.
    """
    if not folder.config.exists():
        return []
    run = shown(folder.path)
    before = remedied(read_config(folder), History(folder.path).entries())
    longer, others = split(differences(before, config), extend)
    if extend:
        length = domains.dataset(config.data, config.run.seed).length
        schedules = (Schedule(each.schedule, length, each.data.batch_size) for each in (before, config))
        old = with_early_stopping(next(schedules), History(folder.path).entries())
        changes = extension_change(folder, longer, old, next(schedules))
    else:
        changes = []
    changes += settings_change(run, others, allowed=settings)
    changes += parts_change(run, read_origins(folder), origins_of(config), allowed=settings)
    if domains.masks is not None and folder.data.exists():
        changes += masks_change(run, read_data(folder), domains.facts(), allowed=data)
    if holds_images(folder, images):
        return changes
    if folder.images.exists():
        return changes + images_change(run, read_images(folder), images, allowed=data)
    if not folder.data.exists():
        return changes
    return changes + fingerprints_change(run, read_data(folder), domains.facts(), allowed=data)
