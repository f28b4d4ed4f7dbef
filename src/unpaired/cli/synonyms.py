"""Advice for options under the names of other programs, such as --lr, --gpu_ids and --resume."""

from __future__ import annotations

from collections.abc import Sequence

_DEVICE = "use --device cuda, cuda:N, cpu or mps"
_OUT = "use --out FOLDER"
_TORCHRUN = "start it with `torchrun --nproc-per-node N -m unpaired`"

TRAIN = {
    "batch batch_size batchsize bs b": "use --data.batch-size N",
    "lr learning_rate lr_g lr_d lr_policy": "use --optimizer.learning-rate X",
    "beta1 beta_1": "use --optimizer.beta1 X",
    "ema ema_decay": "use --optimizer.ema-decay X",
    "resume continue continue_train restart load_checkpoint checkpoint ckpt resume_from":
        "omit it: the same command with the same --out continues an interrupted run",
    "gpu gpus gpu_id gpu_ids cuda cpu no_cuda use_cuda": f"{_DEVICE}; several GPUs: {_TORCHRUN}",
    "multi_gpu ddp distributed local_rank num_gpus world_size": f"omit it and {_TORCHRUN}",
    "num_epochs n_epochs niter max_epochs nepochs epoch n_epochs_decay niter_decay":
        "use --epochs N, half of them with a decaying learning rate",
    "iterations iters num_steps max_steps n_iters total_iters niters step": "use --steps N",
    "workers num_workers num_threads nthreads n_cpu j threads": "use --data.num-workers N",
    "img_size image_size imsize resolution crop crop_size patch_size width height fine_size finesize":
        "use --size N, the side of the training crops",
    "load_size loadsize resize": "use --data.load-size N, or --size N for both sizes",
    "dataroot data_root data_dir data_path dataset dataset_root train_dir data input input_dir":
        "give the folder as the first argument: unpaired train FOLDER",
    "train_a dir_a path_a domain_a data_a root_a traina source src": "use --a FOLDER",
    "train_b dir_b path_b domain_b data_b root_b trainb target tgt": "use --b FOLDER",
    "name run_name exp_name experiment output output_dir outdir save_dir checkpoints_dir logdir log_dir results o":
        _OUT,
    "pretrained weights init_from from finetune load_weights":
        "a run starts from new weights; `unpaired import` makes a model of existing ones for translating",
    "model method mode arch": "use --recipe NAME, such as cyclegan, pix2pix or cut",
    "netg generator net_g backbone": "use --generator.kind resnet or unet",
    "netd discriminator net_d": "use --discriminator.kind patchgan, pixelgan or imagegan",
    "ngf": "use --generator.base-channels N",
    "ndf": "use --discriminator.base-channels N",
    "n_blocks num_blocks n_residual_blocks": "use --generator.num-blocks N",
    "n_layers_d n_layers": "use --discriminator.num-layers N",
    "norm": "use --generator.norm and --discriminator.norm",
    "no_dropout dropout": "use --generator.dropout true or false",
    "lambda_a lambda_cycle lambda_cyc cycle_weight lambda_b":
        "use --objective.cycle-weight-a X and --objective.cycle-weight-b X",
    "lambda_identity lambda_idt lambda_id identity_weight": "use --objective.identity-weight X",
    "lambda_l1": "use --objective.l1-weight X",
    "gan_mode gan_loss loss": "use --objective.adversarial lsgan, cross_entropy, hinge or wgan_gp",
    "pool_size buffer_size": "use --objective.pool-size N",
    "direction": "both directions are learnt; for pix2pix use --objective.direction AtoB or BtoA",
    "preprocess": "use --data.preprocess NAME",
    "no_flip flip": "use --data.flip true or false",
    "input_nc in_channels channels": "use --data.channels-a N",
    "output_nc out_channels": "use --data.channels-b N",
    "amp fp16 bf16 half mixed_precision precision": "use --run.precision fp32 or bf16",
    "compile": "use --run.acceleration compile",
    "save_every save_freq save_epoch_freq save_interval checkpoint_freq save_latest_freq":
        "use --checkpoint-every STEPS",
    "sample_every sample_interval display_freq": "use --run.sample-every STEPS",
    "log_every print_freq log_interval": "use --run.log-every STEPS",
    "early_stopping patience": "use --stop-when-flat",
    "wandb use_wandb tensorboard visdom display_id": "omit it: report.html and log.jsonl in the run folder show it",
    "random_seed manual_seed": "use --seed N",
    "paired aligned dataset_mode": "use --recipe pix2pix for pairs; --data.pairing is inferred otherwise",
    "fid": "train first, then `unpaired evaluate RUN DATA --inception FILE` computes FID",
    "val val_dir validation test": "put test images into testA and testB beside trainA and trainB",
    "verbose debug quiet": "omit it: the run prints a line every ten seconds, and log.jsonl has all",
}  # fmt: skip
"""Options of other programs, by the advice that replaces them; for `unpaired train`."""

TRANSLATE = {
    "batch_size bs": "use --batch N",
    "gpu gpus gpu_id gpu_ids cuda cpu no_cuda": _DEVICE,
    "name output output_dir outdir results_dir save_dir o": _OUT,
    "dataroot input input_dir source i images image": "give images or folders as arguments after the run",
    "model model_path weights checkpoint ckpt pretrained": "give the run or model folder as the first argument",
    "img_size image_size size load_size crop_size resize":
        "omit it: images of any size are translated at their own size",
    "num_test limit": "omit it: all images are translated; give the images that you want as arguments",
    "amp fp16 bf16 half": "use --precision fp32 or bf16",
    "phase netg norm no_dropout ngf input_nc output_nc": "omit it: the model folder holds the settings of its network",
    "continue": "use --resume",
    "force f": "use --overwrite",
    "a_to_b atob": "use --direction AtoB",
    "b_to_a btoa": "use --direction BtoA",
    "num_workers workers threads": "omit it: reading and writing run beside the network",
}  # fmt: skip
"""The same for `unpaired translate`."""

EVALUATE = {
    **{name: TRANSLATE[name] for name in ("batch_size bs", "gpu gpus gpu_id gpu_ids cuda cpu no_cuda")},
    "name output output_dir outdir results_dir o": _OUT,
    "fid kid": "use --inception FILE, the published Inception weights, for FID and KID",
    "dataroot input input_dir": "give the folder as the second argument: unpaired evaluate RUN DATA",
    "img_size image_size crop_size load_size": "use --size N",
    "num_test limit num_images n": "use --count N",
    "lpips_weights": "use --lpips FILE",
}  # fmt: skip
"""The same for `unpaired evaluate`."""

_TABLES = {"train": TRAIN, "translate": TRANSLATE, "evaluate": EVALUATE}


def advice(command: Sequence[str], option: str) -> str:
    """Return the advice for an unknown option of a command, such as ["train"], as a sentence; "" if there is none."""
    table = _TABLES.get(command[0], {}) if command else {}
    name = option.split("=", 1)[0].lstrip("-").replace("-", "_").lower()
    found = next((sentence for names, sentence in table.items() if name in names.split()), "")
    return f"{found[0].upper()}{found[1:]}." if found else ""
