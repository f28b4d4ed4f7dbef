"""A metric of your own: the share of an input's strongest edges that its translation keeps. A template to copy.

From Python:

    import unpaired.evaluate.evaluation
    import metric_edges  # this file; importing it registers the metric

    found = unpaired.evaluate.evaluation.evaluate("runs/NAME", "DATA")
    print(found.directions["AtoB"].rows["kept_edges"].made)

From the command line: `unpaired evaluate runs/NAME DATA --recipe metric_edges.py`.

Installed, for every evaluation on this machine: a package whose pyproject.toml says

    [project.entry-points."unpaired.metrics"]
    kept_edges = "metric_edges:KEPT_EDGES"
"""

import torch
import torch.nn.functional as F

from unpaired.evaluate import METRICS, Translated

SHARE = 0.1  # of the pixels that count as edges


class KeptEdges:
    """Of the tenth of the input's pixels with the largest gradients, the share that is in the translation's tenth."""

    kind = "kept_edges"  # the name in evaluation.json; entry points have the same name
    label = "strongest edges kept"  # the name in tables
    better = "more"  # or "less"
    digits = 3
    sees = "whether outlines stay where they are"  # a few words for the page
    # Optional attributes, such as needs = ("truth",), are listed in unpaired.evaluate.Metric.

    def per_image(self, images: Translated) -> torch.Tensor:
        """Return n shares in [0, 1], 1 for outputs like their inputs; images.real and images.fake are n c h w."""
        real, fake = strongest(images.real), strongest(images.fake)
        return (real & fake).sum(1) / real.sum(1).clamp(min=1)


def strongest(images: torch.Tensor) -> torch.Tensor:
    """Return n h*w booleans: the pixels with the largest gradients of the mean of the channels."""
    grey = F.pad(images.mean(dim=1), (0, 1, 0, 1), mode="replicate")
    across, down = grey[:, :-1].diff(dim=2), grey[:, :, :-1].diff(dim=1)
    length = torch.hypot(across, down).flatten(1)
    least = length.topk(max(1, int(SHARE * length.shape[1])), dim=1).values[:, -1:]
    return (length >= least) & (length > 0)


KEPT_EDGES = METRICS.register(KeptEdges())
