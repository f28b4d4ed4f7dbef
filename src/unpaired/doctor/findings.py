"""The faults of a data folder: their severity, their effect on training, and the fix."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")


@dataclass(frozen=True)
class Fault:
    """One kind of finding, in plain words."""

    code: str
    severity: Severity
    title: str
    training: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Item:
    """One finding: its files (none if it concerns a whole folder), and a detail."""

    paths: tuple[Path, ...]
    detail: str = ""


@dataclass(frozen=True)
class Finding:
    """All findings of one kind in one place ("trainA", or "trainA, testA" for a finding between two)."""

    fault: Fault
    place: str
    items: list[Item] = field(default_factory=list)

    @property
    def num_files(self) -> int:
        """Number of files concerned."""
        return len({path for item in self.items for path in item.paths})


_STOPS = "It stops before step one and names the file; with --data.bad-images skip it leaves the file out."
_PASSED = "The file is passed over and named."
_SILENT = "The file is passed over without a message."
_UNUSED = "Nothing: only the values are used."
_OWN_FORMAT = "Translate without --format: a result in the format of its input keeps it, any other does not."

_ALL = (
    Fault(
        "layout",
        "error",
        "the folders are no data set",
        "It stops before step one.",
        "Add the folder that is missing, or the images that belong in it.",
    ),
    Fault(
        "lfs_pointer",
        "error",
        "Git LFS pointers in place of images",
        _STOPS,
        "Run `git lfs pull` in the repository that they came from, and copy them again.",
    ),
    Fault("empty", "error", "empty files", _STOPS, "Fetch them again, or remove them."),
    Fault(
        "not_an_image",
        "error",
        "files named like images that are something else",
        _STOPS,
        "Fetch the image again (a web page is often a failed download), convert it to PNG, or remove it.",
    ),
    Fault("damaged", "error", "truncated or damaged images", _STOPS, "Fetch them again, or remove them."),
    Fault(
        "too_large",
        "error",
        "images with more pixels than are decoded",
        _STOPS,
        "Scale them down; a small file that claims so many pixels is an attack or damaged: remove it.",
    ),
    Fault(
        "unsupported",
        "error",
        "images of a depth or colour model that would lose something",
        _STOPS,
        "Convert them to RGB or grey of 8 or 16 bits, or to float32; the reason is beside each file.",
    ),
    Fault(
        "non_finite",
        "error",
        "images with NaN or infinite values",
        _STOPS,
        "Replace them by numbers, or declare them as no data if the format can (GDAL's no-data value in a TIFF).",
    ),
    Fault(
        "channels",
        "error",
        "images of other channels than training is set to",
        _STOPS,
        "Give their number with --data.channels-a and --data.channels-b (--channels-a, --channels-b here), or convert "
        "those that differ from the others.",
    ),
    Fault(
        "no_range",
        "error",
        "images whose type has no range of its own",
        "It stops before step one.",
        "Give the values of black and white with --range LOW..HIGH, or measure them with --range p0.5..p99.5.",
    ),
    Fault(
        "unreadable",
        "error",
        "files or folders that the system will not open",
        "It stops before step one, and passes over a folder that it may not list.",
        "Give the user who trains the right to read them, and check the disk.",
    ),
    Fault(
        "too_small",
        "error",
        "images smaller than the crop",
        "It stops before step one, as this preprocessing does not enlarge.",
        "Lower --size, or let --data.preprocess resize_and_crop enlarge them.",
    ),
    Fault(
        "pairs",
        "error",
        "pairs that do not match",
        "It stops before step one and lists them.",
        "Give both files of a pair one name and one size; side by side, an even width.",
    ),
    Fault(
        "masks",
        "error",
        "masks that do not fit",
        "It stops before step one and lists them.",
        "Give each image a grey mask of its name and its size, or train with --data.masks off.",
    ),
    Fault(
        "leak",
        "warning",
        "test images that are also trained on",
        "It memorises them, and every score on the test images is better than it should be.",
        "Remove the copies from the training images.",
    ),
    Fault(
        "duplicate",
        "warning",
        "the same image more than once",
        "It sees the image that many times an epoch, as if it mattered more.",
        "Keep one of each group, the largest or least compressed.",
    ),
    Fault(
        "flat",
        "warning",
        "images of a single colour",
        "Instance norm divides by a deviation of nearly zero and amplifies rounding 300 times: bursts in the loss.",
        "Remove them.",
    ),
    Fault(
        "enlarged",
        "warning",
        "images smaller than the crop",
        "They are enlarged and blurred, and the discriminator learns that this domain is blurred.",
        "Lower --size to the size of most images, or remove the small ones.",
    ),
    Fault(
        "thin",
        "warning",
        "tiny or very long images",
        "Resized to a square they become a smear or a few blocks of colour.",
        "Remove them, cut them to shape, or use --data.preprocess scale_width_and_crop.",
    ),
    Fault(
        "grey",
        "warning",
        "greyscale images among colour images",
        "Grey is repeated in three channels; generators learn to drain colour now and then.",
        "Remove them, or train all in grey (--data.channels-a 1 --data.channels-b 1).",
    ),
    Fault(
        "mixed_types",
        "warning",
        "images of another type than most of their domain",
        "The domain has the smallest type that holds all; a --range other than dtype applies to all of them alike.",
        "Convert them to the type and the units of the others, or remove them.",
    ),
    Fault(
        "alpha_band",
        "warning",
        "bands tagged as alpha that look like measurements",
        "They are used as transparency: the image is composited over data.background.",
        "Train on them as a band with --data.channels-a N (or -b), N counting it, or tag them as unspecified.",
    ),
    Fault(
        "medical",
        "warning",
        "medical images among pictures",
        "Numbers of a scanner are taken for brightness, 0 as black and the type's largest value as white.",
        "Train on them apart, with --range LOW..HIGH, or remove them.",
    ),
    Fault(
        "label_map",
        "warning",
        "label maps",
        "Bicubic resizing mixes the numbers or colours of neighbouring classes into those of others or of none.",
        "Resize without mixing: --data.resize-a nearest for domain A, --data.resize-b nearest for domain B.",
    ),
    Fault(
        "passed_over",
        "warning",
        "pictures in formats, or under names, that are not read",
        _PASSED,
        "Convert them as noted beside each, or give them the suffix of their content.",
    ),
    Fault(
        "outside",
        "warning",
        "images outside the folders that are read",
        _SILENT,
        "Move them into the folder of their domain, or ignore this if they are meant to stay out.",
    ),
    Fault(
        "not_a_file",
        "warning",
        "broken links, pipes, and links to folders",
        _PASSED,
        "Copy their targets into the folder.",
    ),
    Fault(
        "cmyk",
        "warning",
        "images in printing colours (CMYK)",
        "They are converted to RGB by formula, so their colours differ from those in a viewer.",
        "Convert them to sRGB with a colour-managed program.",
    ),
    Fault(
        "few_images",
        "warning",
        "few images in a domain",
        "The discriminator memorises them and is no longer useful; published sets have 400 to 6,000.",
        "Find more. Below a hundred start from a model of similar images: unpaired train DATA --from RUN.",
    ),
    Fault(
        "unequal_counts",
        "warning",
        "domains of very different size",
        "An epoch is as long as the larger domain, so each image of the smaller one is used many times as often.",
        "Add images to the smaller domain, or remove some of the larger one.",
    ),
    Fault(
        "unequal_sizes",
        "warning",
        "domains whose images differ in resolution",
        "The discriminator separates the domains by sharpness, and the generator learns to blur or to sharpen.",
        "Bring both domains to one resolution before, by the same program.",
    ),
    Fault(
        "axes",
        "warning",
        "volumes with other axes than most",
        "Slices are used as stored, so theirs show another plane, or the same one mirrored or rotated.",
        "Bring all volumes to the same axes (nibabel.as_closest_canonical), unless this is intended.",
    ),
    Fault(
        "unequal_formats",
        "warning",
        "domains in different file formats",
        "The discriminator separates the domains by compression artefacts, and the generator learns to draw these.",
        "Take both from sources of one kind, or compress the lossless domain alike.",
    ),
    Fault(
        "unequal_colour",
        "warning",
        "one domain in grey, the other in colour",
        "This is correct if the translation adds or removes colour; grey is repeated in three channels.",
        "Give the grey domain one channel (--data.channels-a 1 or --data.channels-b 1), or mix no grey in.",
    ),
    Fault(
        "both_domains",
        "note",
        "the same image in both domains",
        "It is an example of both domains, which teaches the generator to change nothing.",
        "Remove it from one of the domains, unless the folders hold pairs.",
    ),
    Fault(
        "mirrored",
        "note",
        "mirrored copies of an image",
        "It sees the image twice as often, as flips are drawn anyway.",
        "Keep one of each group.",
    ),
    Fault(
        "mislabelled",
        "note",
        "suffixes that are not those of the content",
        "Nothing: files are read by their content.",
        "Rename them, as other programs may fail.",
    ),
    Fault(
        "turned",
        "note",
        "photographs turned by their EXIF orientation",
        "They are read upright, as viewers show them.",
        "Nothing. A program that ignores EXIF sees them lying.",
    ),
    Fault(
        "pages",
        "note",
        "files of several pages",
        "The picture is used; thumbnails, masks and pages of other sizes are not, and a result has none of them.",
        "Take the pages apart into files of their own, if they should be used.",
    ),
    Fault(
        "frames",
        "note",
        "animations",
        "The first frame is used, the others are not; a result holds one frame.",
        "Take the frames apart into files of their own, if they should be used.",
    ),
    Fault(
        "planes",
        "note",
        "images with named z, c or t axes",
        "The planes are used, their names are not.",
        _OWN_FORMAT,
    ),
    Fault("georeference", "note", "images with a place on the map", _UNUSED, _OWN_FORMAT),
    Fault(
        "pyramid",
        "note",
        "images with smaller copies (a pyramid)",
        "The full size is used; a result holds no smaller copies.",
        "Make the copies anew from the result, e.g. with gdaladdo.",
    ),
    Fault("physical_size", "note", "images that declare the size of a pixel", _UNUSED, _OWN_FORMAT),
    Fault(
        "no_data",
        "note",
        "images that declare a value for no data",
        "The value is no measurement and is not used as one.",
        _OWN_FORMAT,
    ),
    Fault(
        "band_descriptions",
        "note",
        "images whose bands have descriptions, scales or units",
        "Nothing: the stored numbers are used, and a result has none of these.",
        "Describe the bands of the result anew, if a program asks for it.",
    ),
    Fault(
        "transparent",
        "note",
        "images with transparency",
        "They are composited over white, or over --data.background; so are inputs of translation.",
        "Choose a background that occurs in neither domain's subjects, or keep white.",
    ),
    Fault(
        "palette",
        "note",
        "images with a palette",
        "They are read as RGB; 256 colours leave bands, which a generator may learn.",
        "Find the originals, if the bands can be seen.",
    ),
    Fault(
        "one_bit",
        "note",
        "images in black and white without grey",
        "They are read as 0 and 255.",
        "Find the originals, if grey was lost.",
    ),
    Fault(
        "deep",
        "note",
        "images of more than 8 bits per channel",
        "All bits are used. Without --range the ends of the type are black and white; floats need a --range.",
        "Check their brightness here: values that use a part of the range are dark; set it with --range LOW..HIGH.",
    ),
    Fault(
        "large",
        "note",
        "very large images",
        "Each is decoded whole for a small crop; decoding may be slower than training.",
        "Scale them down once, to a little more than --data.load-size.",
    ),
    Fault(
        "name_clash",
        "note",
        "names that differ only in case, in the encoding of accents, or in the suffix",
        "Nothing. On other systems one file replaces the other, and translations to one format would share a name.",
        "Rename one of them.",
    ),
    Fault(
        "junk_folder",
        "note",
        "hidden folders, and those of a desktop or a disk",
        "They are left out, with the images in them, and named.",
        "Rename a folder to use its images.",
    ),
    Fault(
        "junk_image",
        "note",
        "leftovers of a desktop that are named like images",
        "They are passed over and named.",
        "Remove them; macOS writes ._NAME beside NAME on foreign disks, and `dot_clean` removes them.",
    ),
    Fault("junk", "note", "leftovers of a desktop", "They are passed over and named.", "Remove them, or leave them."),
    Fault("other", "note", "files that are no images", "They are passed over and named.", "Nothing."),
)

FAULTS = {fault.code: fault for fault in _ALL}
"""Every kind of finding by its code, the most severe first."""
