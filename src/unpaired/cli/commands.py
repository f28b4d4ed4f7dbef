"""The verbs around a run: train, translate, demo.

torch is imported inside the commands, so that --help answers at once.
"""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from unpaired.cli.app import app
from unpaired.cli.output import print_demo
from unpaired.cli.own_parts import load_parts, option_of
from unpaired.cli.quick import importing, without_shapes
from unpaired.cli.settings import resolve
from unpaired.errors import DataError
from unpaired.launch import launched
from unpaired.models.by_name import results_folder
from unpaired.storage import left_out
from unpaired.training.terminal import ProgressLines, print_sentence, sentences_printed


@app.command
def train(
    data: Annotated[Path | None, Parameter(name="DATA")] = None,
    /,
    *,
    a: Path | None = None,
    b: Path | None = None,
    out: Path | None = None,
    recipe: str | None = None,
    from_: Annotated[Path | None, Parameter(name="--from")] = None,
    from_step: int | None = None,
    from_warmup: int | None = None,
    config: Path | None = None,
    steps: int | None = None,
    epochs: int | None = None,
    size: int | None = None,
    range_: Annotated[str | None, Parameter(name="--range", allow_leading_hyphen=True)] = None,
    seed: int | None = None,
    device: str | None = None,
    memory: str | None = None,
    checkpoint_every: int | None = None,
    stop_when_flat: bool | None = None,
    strict: Annotated[bool, Parameter(negative=(), show_default=False)] = False,
    verify_data: Annotated[bool, Parameter(negative=(), show_default=False)] = False,
    allow_data_change: Annotated[bool, Parameter(negative=(), show_default=False)] = False,
    allow_config_change: Annotated[bool, Parameter(negative=(), show_default=False)] = False,
    allow_rank_change: Annotated[bool, Parameter(negative=(), show_default=False)] = False,
    extend: Literal["keep", "restart"] | None = None,
    dry_run: Annotated[bool, Parameter(negative=(), show_default=False)] = False,
    explain: Annotated[bool, Parameter(negative=(), show_default=False)] = False,
    set_: Annotated[tuple[str, ...], Parameter(name="--set", show=False, negative=())] = (),
) -> None:
    """Train on two folders of images; the same command again continues an interrupted run.

    Every other setting is an option too, by its dotted name: --optimizer.learning-rate 1e-4,
    --objective.identity-weight 0, --data.batch-size 4; `unpaired settings` lists them.

    Parameters
    ----------
    data
        Folder that holds trainA and trainB (and testA and testB for the sample grids), or pairs, or one set of images.
    a
        Folder of images of domain A, instead of DATA.
    b
        Folder of images of domain B, instead of DATA.
    out
        The run folder (default: runs/NAME OF DATA).
    recipe
        paper (CycleGAN as published; the default), demo, fast, photo, geometry, cyclegan, cycle-alone, gan-alone,
        gan-forward, gan-backward, attention, pix2pix, pix2pix-l1, pix2pix-l1-gan, pix2pix-cgan, cut, fastcut, simgan,
        feature-gan, bigan, cogan, style, gan, cgan, or your own as FILE.py:FUNCTION. With --from RUN the default
        is that run's.
    from_
        Run folder, model folder or official .pth file whose weights a new run starts from, the generators' and those of
        other networks if it has them. Empty: new weights.
    from_step
        Step of the run to start from, one of its checkpoints. none: the newest, resolved when a run starts.
    from_warmup
        First steps in which only networks and layers learn that the source does not have; 0 for none.
    config
        YAML file of settings that override those of the recipe.
    steps
        Length of the run in steps instead of epochs; both phases keep their proportion (the paper's: half each).
    epochs
        Length of the run in epochs, half of them decaying, instead of the recipe's.
    size
        Side of the training crops in pixels; images are resized in the published proportion.
    range_
        Values that become -1 and 1: dtype (the whole range of the images' type), LOW..HIGH as in 0..4095, or
        percentiles over the training images as in p0.5..p99.5; values beyond are clamped. --data.range-a and
        --data.range-b for one domain.
    seed
        Seed of every draw: initial weights, order, partners, crops, flips, pools, dropout. Not negative.
    device
        Device of the run: auto (a GPU if there is one), cpu, cuda, cuda:N or mps.
    memory
        Memory that the run may take, e.g. 6GB: settings are changed to fit, those without effect on the result first.
    checkpoint_every
        Steps between two checkpoints; 0 saves one at the end and on interruption only.
    stop_when_flat
        Early stopping. On a plateau of the validations the learning-rate decay starts early; on a second plateau
        training ends. --no-stop-when-flat also continues a run that ended so.
    strict
        Refuse a damaged checkpoint (exit code 65) instead of setting it aside and continuing from the one before.
    verify_data
        Read every image, also those of large folders that are the same as at the last scan by their dates.
    allow_data_change
        Continue a run though its images changed since it was started; the run keeps a record of that.
    allow_config_change
        Continue a run with other settings, the networks' excepted; the run keeps a record of that.
    allow_rank_change
        Continue a run with another number of processes (torchrun); the run keeps a record of that.
    extend
        Make a finished run longer, to the whole length in --steps or --epochs. keep: with the rate that the longer
        schedule has there; restart: with a new schedule for the new steps.
    dry_run
        Print the resolved configuration and stop.
    explain
        Print the resolved configuration with the source and the meaning of each setting as comments, and stop.
    """
    from unpaired.cli.explaining import explained
    from unpaired.config import to_yaml

    quick = {
        "data.root": data,
        "data.a": a,
        "data.b": b,
        "data.range": range_,
        "run.seed": seed,
        "run.device": device,
        "run.memory": memory,
        "run.checkpoint_every": checkpoint_every,
        "run.stop_when_flat": stop_when_flat,
        "start.weights": from_,
        "start.step": from_step,
        "start.warmup": from_warmup,
    }
    given = {key: str(value) if isinstance(value, Path) else value for key, value in quick.items() if value is not None}
    made = resolve(recipe, config, size, steps, epochs, given, set_, out=out)
    resolved = made.config
    if dry_run or explain:
        from unpaired.runs.configure import default_out
        from unpaired.runs.resolvers import dry_run as resolve_alone
        from unpaired.runs.resolvers import note_unread

        with sentences_printed("stderr"):
            note_unread(resolved.data)
            folder = out if out is not None else default_out(resolved.data)
            resolved = resolve_alone(resolved, folder, made, keeps_auto=not explain, extend=extend or "")
        text = explained(resolved, made.sources) if explain else to_yaml(resolved)
        if not launched().rank:
            print(text, end="")
        return
    from unpaired.runs.context import Allowed
    from unpaired.runs.entry import train_config

    recipe = recipe or ("paper" if from_ is None else "")
    run = train_config(
        resolved,
        recipe=recipe,
        out=out,
        allowed=Allowed(strict, allow_data_change, allow_config_change, allow_rank_change, extend or ""),
        verify_data=verify_data,
        listener=ProgressLines(),
    )
    print_sentence(f"Model: {run.path / 'model'}   Report: {run.path / 'report.html'}")
    from unpaired.cli.strengths import mask_option

    path, own = shlex.quote(str(run.path)), option_of(recipe, resolved)
    draws = run.objective == "gan"
    way = " --direction BtoA" if getattr(resolved.objective, "direction", "AtoB") == "BtoA" else ""
    print_sentence(
        f"Draw with it: unpaired sample {path}{own}"
        if draws
        else f"Translate with it: unpaired translate {path} IMAGE...{mask_option(run.path)}{way}{own}"
    )


@app.command
def translate(
    model: Annotated[Path, Parameter(name="MODEL")],
    inputs: Annotated[tuple[str, ...], Parameter(name="INPUT", negative=())] = (),
    /,
    *,
    direction: str = "AtoB",
    out: Path | None = None,
    format: str | None = None,
    batch: int | None = None,
    overwrite: Annotated[bool, Parameter(negative=(), show_default=False)] = False,
    resume: Annotated[bool, Parameter(negative=(), show_default=False)] = False,
    keep_icc: Annotated[bool, Parameter(negative=(), show_default=False)] = False,
    follow_symlinks: Annotated[bool, Parameter(negative=(), show_default=False)] = False,
    pairs: Literal["auto", "side-by-side", "no"] = "auto",
    scores: Annotated[bool, Parameter(negative=(), show_default=False)] = False,
    keep_best: str | None = None,
    masks: Path | None = None,
    mask: Path | None = None,
    feather: int = 4,
    resize: str = "native",
    detail: Annotated[bool, Parameter(negative=(), show_default=False)] = False,
    step: int | None = None,
    max_pixels: int | None = None,
    device: str = "auto",
    precision: Literal["auto", "fp32", "bf16"] = "auto",
    backend: str = "torch",
    style: Path | None = None,
    features: str | None = None,
    strength: str | None = None,
    iterations: int | None = None,
    recipe: Path | None = None,
) -> int:
    """Translate images of any size with a run or a model folder; each result is exactly as large as its input.

    Several processes that torchrun starts share the images. With --style there is no MODEL: each image is optimised
    until its textures and colours are those of the style (Gatys et al. 2016), which takes minutes an image.

    Parameters
    ----------
    model
        A run folder, the model folder in it, or a model by name (`unpaired models`); with --style the first input.
    inputs
        Images, folders (searched through) and globs.
    direction
        AtoB or BtoA, or the names of the domains, as in summer2winter.
    out
        Folder for the results (default: MODEL/translated/DIRECTION, for a model by name translated/NAME/DIRECTION;
        translated/style with --style).
    format
        File format of the results, e.g. png (default: that of each input).
    batch
        Images of one size that are translated together (default: as many as are fastest).
    overwrite
        Replace results that exist already.
    resume
        Keep finished results and make the others: after an interruption, or for new or changed images.
    keep_icc
        Do not convert colours with an ICC profile to sRGB; the result gets the profile.
    follow_symlinks
        Read files of a folder that are links to places outside of it.
    pairs
        side-by-side: translate the input half of images that hold A and B; auto: if all resemble those of training.
    scores
        Write scores.csv beside the results: how far to trust each, and which inputs are out of distribution.
    keep_best
        Write only the most trusted share of the results, e.g. 20%; implies --scores.
    masks
        Also write the mask of each image to this folder: white where it is translated (generator.kind attention).
    mask
        Folder with a mask of the same name for each image, or one file: white is translated, black kept bit for bit.
    feather
        Pixels over which the translation fades towards the kept pixels, inside of the mask.
    resize
        Size at which images are translated: native, trained (as in training) or the shorter side in pixels.
    detail
        Add to each result the detail that --resize took from its image.
    step
        Translate with an earlier step of the run, one of its checkpoints.
    max_pixels
        Pixels that are decoded and translated at once (default: as many as fit the free memory).
    device
        auto, cpu, cuda, cuda:N or mps.
    precision
        fp32; bf16 (8-bit results only, faster if the processor supports it); auto: bf16 if near enough (40 dB).
    backend
        Backend that runs the networks: torch, or the kind of an installed one.
    style
        Image, or folder of images, whose style the inputs get instead of being translated by a model.
    features
        With --style, network that compares images: random (the default), vgg16:FILE or vgg19:FILE (weights as
        PyTorch publishes them), or discriminator:RUN.
    strength
        0 (the input) to 1 (the translation), and up to 1.5; several give a file each, as in 0 0.5 1. With --style,
        weight of the style relative to the content (default: 30).
    iterations
        With --style, steps of the optimisation of an image (default: 100).
    recipe
        Your own FILE.py with the parts that this needs, such as a network, a format or a metric; it is executed.
    """
    load_parts(recipe)
    without_shapes()
    with importing():
        from unpaired.cli.strengths import (
            UNMASKED,
            parse_strengths,
            parse_style_strength,
            refuse_feather,
            refuse_scores,
            with_halves,
        )
        from unpaired.cli.style_options import StyleOptions, open_style, refuse_unsuitable
        from unpaired.cli.translation import TranslateOptions, translate_all
        from unpaired.images.foreign import passed_over
        from unpaired.translate.directions import direction_named
        from unpaired.translate.far_scale import far_scale
        from unpaired.translate.jobs import plan_outputs, variants_of
        from unpaired.translate.mask_files import find_masks
        from unpaired.translate.resizing import parse_resize
        from unpaired.translate.sheets import take_halves
        from unpaired.translate.translator import Translator
        from unpaired.trust.scored import check_table, load_scorer, parse_share

    options = TranslateOptions(
        direction=direction,
        batch=batch,
        keep_icc=keep_icc,
        overwrite=overwrite,
        resume=resume,
        share=1.0 if keep_best is None else parse_share(keep_best),
        masks=masks,
    )
    style_strength = None if style is None else parse_style_strength(strength)
    strengths = (1.0,) if style is not None else parse_strengths(strength)
    refuse_scores(strengths, scores or keep_best is not None)
    refuse_feather(feather, mask)
    chosen = StyleOptions(style=style, features=features, strength=style_strength, iterations=iterations)
    given = refuse_unsuitable(
        chosen,
        options,
        model,
        inputs,
        scores=scores or keep_best is not None,
        precision=precision,
        backend=backend,
        resize=resize,
        detail=detail,
        step=step,
    )
    how = {"device": device, "precision": precision, "max_pixels": max_pixels, "backend": backend, "detail": detail}
    if style is not None:
        translator = open_style(chosen, device=device, max_pixels=max_pixels)
    elif step is not None:
        from unpaired.runs.earlier import translator_of_step

        translator = translator_of_step(model, step, resize=parse_resize(resize), **how)
    else:
        translator = Translator.load(model, resize=parse_resize(resize), **how)  # type: ignore[arg-type]
    direction = direction_named(direction, translator.directions, translator.info.domains)
    options = replace(options, direction=direction)
    own = () if step is None else (f"step-{step:08d}",)
    default = Path("translated/style") if style is not None else results_folder(model, "translated", *own, direction)
    folder = out if out is not None else default
    plan = plan_outputs(
        given,
        folder,
        format=format,
        overwrite=overwrite,
        resume=resume,
        direction=direction,
        follow_symlinks=follow_symlinks,
        strengths=strengths,
    )
    if mask is not None or strengths != (1.0,):
        translator.require_blending(direction)
    kept = None if mask is None else find_masks(mask, plan.jobs, folder, feather)
    options = replace(options, mask_files=kept)
    scorer = load_scorer(translator, model, direction) if scores or keep_best is not None else None
    if scorer is not None:
        check_table(folder, overwrite or resume)
    for sentence in [*passed_over(plan.passed_over), *left_out(plan.left_out)]:
        print_sentence(sentence)
    firsts, note = take_halves(tuple(variants_of(plan.jobs)), translator.info, direction=direction, pairs=pairs)
    jobs = with_halves(plan.jobs, firsts)
    unmasked = translator.info.masked and kept is None
    for sentence in [
        note,
        UNMASKED if unmasked else "",
        far_scale(firsts, translator.info, direction) if resize == "native" else "",
    ]:
        if sentence:
            print_sentence(sentence)
    return DataError.exit_code if translate_all(translator, scorer, jobs, folder, options) else 0


@app.command
def demo(
    *,
    out: Path = Path("runs/demo"),
    steps: int | None = None,
    count: int = 600,
    seed: int = 0,
    device: str = "auto",
) -> None:
    """Draw scenes, learn to translate summer to winter from unpaired ones, and score the result against ground truth.

    Takes minutes on two CPU cores and needs no data. The same command again continues an interrupted demo.

    Parameters
    ----------
    out
        The run folder.
    steps
        Training steps, instead of the demo recipe's.
    count
        Scenes drawn for each domain.
    seed
        Seed of every draw, of scenes and of training.
    device
        auto, cpu, cuda, cuda:N or mps.
    """
    from unpaired.demo import run_demo

    result = run_demo(out, num_train=count, num_steps=steps, seed=seed, device=device, listener=ProgressLines())
    print_demo(result, out)
