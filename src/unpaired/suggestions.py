"""The sentence for a name that does not exist, with the nearest one that does."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

from unpaired.storage import shown

MAX_LISTED = 30
"""Names that are listed if none is near; of more, only the first ones."""

OTHER_NAMES = {
    "lr": "learning_rate",
    "lr_d": "discriminator_learning_rate",
    "bs": "batch_size",
    "batchsize": "batch_size",
    "workers": "num_workers",
    "num_threads": "num_workers",
    "ema": "ema_decay",
    "ngf": "base_channels",
    "ndf": "base_channels",
    "n_blocks": "num_blocks",
    "n_layers": "num_layers",
    "lambda_a": "cycle_weight_a",
    "lambda_b": "cycle_weight_b",
    "lambda_cycle": "cycle_weight_a",
    "cycle_weight": "cycle_weight_a",
    "lambda_identity": "identity_weight",
    "lambda_idt": "identity_weight",
    "lambda_l1": "l1_weight",
    "lambda_nce": "contrast_weight",
    "gan_mode": "adversarial",
    "gan_loss": "adversarial",
    "n_epochs": "num_epochs_constant",
    "n_epochs_decay": "num_epochs_decay",
    "epochs": "num_epochs_constant",
    "steps": "num_steps",
    "in_channels": "channels_a",
    "input_nc": "channels_a",
    "out_channels": "channels_b",
    "output_nc": "channels_b",
    "size": "crop_size",
    "image_size": "crop_size",
    "resize": "load_size",
    "amp": "precision",
    "vanilla": "cross_entropy",
    "bce": "cross_entropy",
    "mse": "lsgan",
    "least_squares": "lsgan",
    "basic": "patchgan",
    "netg": "generator",
    "netd": "discriminator",
    "pth": "official",
    "pt2": "torch-export",
}
"""Names of other programs for settings and choices, without the group."""


def unknown(name: str, known: Iterable[str], noun: str) -> str:
    """Return the sentence for a name that does not exist, with the nearest existing one as a suggestion.

    name: the name, or "'VALUE' for SETTING".
    """
    names = list(known)
    value = name if name.startswith(("[", "{", "(")) else name.partition(" for ")[0]  # not for a list in its place
    near = nearest(value.strip("'\""), names)
    more = f", ... ({len(names)} in all)" if len(names) > MAX_LISTED else ""
    hint = f"did you mean {near}?" if near else f"choose from: {', '.join(names[:MAX_LISTED])}{more}."
    return f"Unknown {noun} {shown(name)}; {hint}"


def nearest(name: str, names: Sequence[str]) -> str:
    """Return the name that is meant, "" if none is near. Case, dashes and underscores do not count.

    In this order: the same name, the same setting in any group (crop_size: data.crop_size), the name of another program
    for it (optimizer.lr: optimizer.learning_rate), the most similar one.
    """
    plain = {_plain(each): each for each in reversed(names)}
    wanted = _plain(name)
    if wanted in plain:
        return plain[wanted]
    group, _, leaf = wanted.rpartition(".")
    leaves = {_leaf(each): plain[each] for each in sorted(plain, key=lambda each: each.startswith(f"{group}."))}
    found = leaves.get(leaf) or leaves.get(_plain(OTHER_NAMES.get(leaf, "")))
    if found:
        return found
    near = difflib.get_close_matches(wanted, plain, n=1, cutoff=0.6)
    return plain[near[0]] if near else ""


def _plain(name: str) -> str:
    return name.lower().replace("-", "_")


def _leaf(name: str) -> str:
    return name.rpartition(".")[2]
