"""Advice for options under the names of other programs, such as --lr, --gpu_ids and --resume."""

from __future__ import annotations

from collections.abc import Sequence

_DEVICE = "use --device cuda, cuda:N, cpu or mps"
_OUT = "use --out FOLDER"
_TORCHRUN = "start it with `torchrun --nproc-per-node N -m unpaired`"

TRAIN = {
    "batch batch_size batchsize bs b": "use --data.batch-size N",
    "lr learning_rate lr_g lr_init": "use --optimizer.learning-rate X",
    "lr_d d_lr": "use --optimizer.discriminator-learning-rate X",
    "lr_policy lr_decay_iters lr_decay_epochs scheduler lr_scheduler decay_flag decay_epoch step_size gamma":
        "omit it: the rate decays linearly to 0 over the second half of --epochs or --steps",
    "beta1 beta_1 b1": "use --optimizer.beta1 X",
    "beta2 beta_2 b2": "use --optimizer.beta2 X",
    "optim weight_decay wd": "omit it: the optimizer is Adam without weight decay",
    "ema ema_decay": "use --optimizer.ema-decay X",
    "continue_train":
        "--from RUN starts a new run from existing weights; omit both to continue: the same command with the same "
        "--out continues an interrupted run",
    "resume continue restart load_checkpoint checkpoint ckpt resume_from load_iter "
    "epoch_count start_epoch continue_from last":
        "omit it: the same command with the same --out continues an interrupted run",
    "gpu gpus gpu_id gpu_ids cuda cpu no_cuda use_cuda": f"{_DEVICE}; several GPUs: {_TORCHRUN}",
    "multi_gpu ddp distributed local_rank num_gpus world_size accelerator strategy devices": f"omit it and {_TORCHRUN}",
    "num_epochs max_epochs nepochs epoch num_train_epochs":
        "use --epochs N, half of them with a decaying learning rate",
    "n_epochs niter": "use --schedule.num-epochs-constant N",
    "n_epochs_decay niter_decay": "use --schedule.num-epochs-decay N",
    "iterations iters num_steps max_steps n_iters total_iters niters step iteration max_iter max_train_steps":
        "use --steps N",
    "workers num_workers num_threads nthreads n_cpu j threads": "use --data.num-workers N",
    "img_size image_size imsize resolution crop crop_size patch_size width height fine_size finesize "
    "img_height img_width crop_image_height crop_image_width":
        "use --size N, the side of the training crops",
    "load_size loadsize resize new_size": "use --data.load-size N, or --size N for both sizes",
    "dataroot data_root data_dir data_path dataset dataset_root train_dir data input input_dir root "
    "dataset_name train_data_dir":
        "give the folder as the first argument: unpaired train FOLDER",
    "train_a dir_a path_a domain_a data_a root_a traina source src": "use --a FOLDER",
    "train_b dir_b path_b domain_b data_b root_b trainb target tgt": "use --b FOLDER",
    "name run_name exp_name experiment output output_dir outdir save_dir checkpoints_dir logdir log_dir results "
    "output_path output_folder result_dir results_dir out_dir o":
        _OUT,
    "pretrained weights init_from init finetune load_weights start_from initial_weights pretrained_path "
    "from_pretrained from_run from_model from_weights init_weights pretrained_model":
        "use --from PATH, a run, a model folder or an official .pth file",
    "model method mode arch trainer cut_mode": "use --recipe NAME, such as cyclegan, pix2pix, cut or fastcut",
    "netg generator net_g backbone which_model_netg": "use --generator.kind resnet or unet",
    "netd discriminator net_d which_model_netd": "use --discriminator.kind patchgan, pixelgan or imagegan",
    "ngf ch base_channels": "use --generator.base-channels N",
    "ndf": "use --discriminator.base-channels N",
    "n_blocks num_blocks n_residual_blocks n_res resblocks": "use --generator.num-blocks N",
    "n_layers_d n_layers n_dis": "use --discriminator.num-layers N",
    "norm": "use --generator.norm and --discriminator.norm",
    "no_dropout dropout": "use --generator.dropout true or false",
    "lambda_a": "use --objective.cycle-weight-a X",
    "lambda_b": "use --objective.cycle-weight-b X",
    "lambda_cycle lambda_cyc cycle_weight":
        "use --objective.cycle-weight-a X and --objective.cycle-weight-b X",
    "lambda_identity lambda_idt lambda_id identity_weight": "use --objective.identity-weight X",
    "lambda_nce nce_weight": "use --objective.contrast-weight X",
    "nce_idt": "use --objective.identity-contrast true or false",
    "num_patches": "use --objective.num-patches N",
    "nce_t": "use --objective.temperature X",
    "flip_equivariance": "use --objective.flip-equivariance true or false",
    "lambda_gan adv_weight adversarial_weight gan_w": "use --objective.adversarial-weight X",
    "nce_layers netf netf_nc init_type init_gain cam_weight light stylegan2_g_num_downsampling":
        "omit it: the published value is built in, or the method does not have it",
    "lambda_l1": "use --objective.l1-weight X",
    "gan_mode gan_loss loss": "use --objective.adversarial lsgan, cross_entropy, hinge or wgan_gp",
    "accumulate grad_accum accumulate_grad_batches gradient_accumulation_steps": "use --run.accumulate N",
    "gradient_checkpointing checkpointing": "use --run.recompute",
    "pool_size buffer_size": "use --objective.pool-size N",
    "direction": "CycleGAN learns both directions; pix2pix takes --objective.direction AtoB or BtoA, "
        "and CUT learns A to B, so exchange --a and --b",
    "preprocess": "use --data.preprocess NAME",
    "no_flip flip random_flip": "use --data.flip true or false",
    "input_nc in_channels channels": "use --data.channels-a N",
    "output_nc out_channels": "use --data.channels-b N",
    "amp fp16 bf16 half mixed_precision precision": "use --run.precision fp32 or bf16",
    "compile": "use --run.acceleration compile",
    "save_every save_freq save_epoch_freq save_interval checkpoint_freq save_latest_freq "
    "snapshot_save_iter checkpointing_steps":
        "use --checkpoint-every STEPS",
    "sample_every sample_interval display_freq image_save_iter update_html_freq": "use --run.sample-every STEPS",
    "log_every print_freq log_interval": "use --run.log-every STEPS",
    "early_stopping patience": "use --stop-when-flat",
    "wandb use_wandb visdom display_id display_port display_server display_ncols display_env "
    "display_winsize no_html report_to logger": "omit it: report.html and log.jsonl in the run folder show the run",
    "tensorboard tb": "use --run.tensorboard",
    "serial_batches max_dataset_size phase suffix":
        "omit it: order and names need no setting, and a run uses all images",
    "random_seed manual_seed manualseed": "use --seed N",
    "paired aligned dataset_mode": "use --recipe pix2pix for pairs; --data.pairing is inferred otherwise",
    "fid eval evaluate metrics": "train first, then `unpaired evaluate RUN DATA --inception FILE` computes FID",
    "val val_dir validation test": "put test images into testA and testB beside trainA and trainB",
    "verbose debug quiet": "omit it: the run prints a line every ten seconds, and log.jsonl has all",
}  # fmt: skip
"""Options of other programs, by the advice that replaces them; for `unpaired train`."""

TRANSLATE = {
    "batch_size bs": "use --batch N",
    "gpu gpus gpu_id gpu_ids cuda cpu no_cuda": _DEVICE,
    "name output output_dir output_folder output_path outdir results_dir save_dir o": _OUT,
    "dataroot input input_dir source i images image": "give images or folders as arguments after the run",
    "model model_path weights checkpoint ckpt pretrained": "give the run or model folder as the first argument",
    "img_size image_size imsize size load_size loadsize new_size":
        "use --resize N, or --resize trained for that of training; without it images are translated at their own size",
    "crop_size": "omit it: nothing is cropped; --resize N translates at another size",
    "num_test limit": "omit it: all images are translated; give the images that you want as arguments",
    "amp fp16 bf16 half": "use --precision fp32 or bf16",
    "a2b": "use --direction AtoB, or BtoA",
    "to target target_domain": "use --direction AtoB, or the name of the target domain",
    "which_epoch epoch load_iter":
        "use --step N for a checkpoint that the run keeps; without it the selected or the last step is used",
    "eval no_eval": "omit it: networks run as in testing, pix2pix as published",
    "aspect_ratio preprocess no_flip serial_batches max_dataset_size num_threads display_id":
        "omit it: each result is as large as its input, and nothing is cropped or flipped",
    "random_seed manual_seed": "omit it: the same image gives the same result",
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
    "dataroot data data_dir dataset input input_dir test_dir":
        "give the folder as the second argument: unpaired evaluate RUN DATA",
    "model checkpoint ckpt": "give the run or model folder as the first argument: unpaired evaluate RUN DATA",
    "metrics metric": "omit it: every metric is computed; --inception FILE adds FID and KID, --lpips adds LPIPS",
    "direction": "omit it: every direction of the model is evaluated",
    "no_pairs unpaired": "use --no-truth",
    "pairs paired": "use --truth",
    "img_size image_size crop_size load_size": "use --size N",
    "num_test limit num_images n": "use --count N",
    "lpips_weights": "use --lpips FILE",
}  # fmt: skip
"""The same for `unpaired evaluate`."""

EXPORT = {
    "name output output_dir o": _OUT,
    "type to onnx torchscript pth": "use --format official or torch-export",
}
"""The same for `unpaired export`."""

DRAW = {
    "num n number num_images num_train": "use --count N",
    "test num_val": "use --num-test N",
    "img_size image_size resolution": "use --size N",
    "style style_a": "use --a STYLE",
    "style_b": "use --b STYLE",
    "pairs aligned": "use --paired",
    "out output dir": "give the folder as the first argument: unpaired data draw FOLDER",
}
"""The same for `unpaired data draw`."""

CHECK = {
    "dataroot data data_dir input": "give the folder as the first argument: unpaired data check FOLDER",
    "out output report o": "use --html FILE, or --json",
    "fix repair delete": "omit it: nothing is changed; the findings name the files and the remedy",
    "paired pairs": "use --pairing paired",
}
"""The same for `unpaired data check`."""

COMMANDS = {
    "test infer inference predict apply run-model transfer stylize":
        "to translate images: unpaired translate RUN IMAGES; to measure a model: unpaired evaluate RUN DATA.",
    "generate gen": "to translate images: unpaired translate RUN IMAGES; to draw with a GAN: unpaired sample RUN.",
    "eval metrics metric fid score measure test-fid": "to measure a model: unpaired evaluate RUN DATA.",
    "fit start run learn": "to train: unpaired train DATA.",
    "resume continue restart": "the command that started a run continues it: unpaired train DATA --out RUN.",
    "download get fetch datasets": "to get a published data set: unpaired data download NAME.",
    "check validate doctor lint": "to check a folder of images: unpaired data check DATA.",
    "draw scenes": "to draw a data set: unpaired data draw FOLDER.",
    "list ls status progress report show runs visualize visdom": "for the state of a run: unpaired info RUN.",
    "recipes methods": "`unpaired train --help` lists the recipes.",
    "config options params": "`unpaired settings` lists the settings, `unpaired train --dry-run` prints them.",
    "convert onnx": "to write a model for other programs: unpaired export RUN --out FOLDER; to read weights: unpaired "
        "import FILE --out FOLDER.",
    "load": "to read weights of other programs: unpaired import FILE --out FOLDER.",
    "finetune fine-tune": "to train from existing weights: unpaired train DATA --from RUN.",
}  # fmt: skip
"""Commands of other programs, by the advice that replaces them."""

DATA_COMMANDS = {
    "create make generate synth": "to draw a data set: unpaired data draw FOLDER.",
    "get fetch": "to get a published data set: unpaired data download NAME.",
    "info verify validate stats show list": "to check a folder of images: unpaired data check DATA.",
}
"""The same for the commands under `unpaired data`."""

MODELS_COMMANDS = {
    "fetch download pull install add": "to fetch a model: unpaired models get NAME.",
    "ls show all": "to list the models: unpaired models list.",
    "rm delete del uninstall": "to remove a fetched model: unpaired models remove NAME.",
}
"""The same for the commands under `unpaired models`."""

_NETWORKS = {
    "resnet_9blocks": "use --generator.kind resnet --generator.num-blocks 9",
    "resnet_6blocks": "use --generator.kind resnet --generator.num-blocks 6",
    "unet_256": "use --generator.kind unet --generator.num-downs 8",
    "unet_128": "use --generator.kind unet --generator.num-downs 7",
}
_JUDGES = {
    "basic": "use --discriminator.kind patchgan",
    "n_layers": "use --discriminator.kind patchgan --discriminator.num-layers N",
    "pixel": "use --discriminator.kind pixelgan",
}
VALUES = {
    "model": {
        "cycle_gan": "omit it: CycleGAN is the default",
        "cyclegan": "omit it: CycleGAN is the default",
        "pix2pix": "use --recipe pix2pix",
        "cut": "use --recipe cut",
        "fastcut": "use --recipe fastcut",
        "test": "use `unpaired translate RUN IMAGES`",
    },
    "cut_mode": {"cut": "use --recipe cut", "fastcut": "use --recipe fastcut"},
    "netg": _NETWORKS,
    "netd": _JUDGES,
    "gan_mode": {
        "vanilla": "use --objective.adversarial cross_entropy",
        "lsgan": "use --objective.adversarial lsgan",
        "wgangp": "use --objective.adversarial wgan_gp",
    },
    "gpu_ids": {"-1": "use --device cpu", "0": "use --device cuda:0, or omit it: a GPU is used if there is one"},
    "no_flip": {"": "use --data.flip false"},
    "dataset_mode": {
        "unaligned": "omit it: unpaired folders are the default",
        "aligned": "use --recipe pix2pix",
        "single": "use --recipe gan to train on one folder",
    },
}
"""Advice of `unpaired train` that depends on the value of an option."""

_TABLES = {
    "train": TRAIN,
    "translate": TRANSLATE,
    "evaluate": EVALUATE,
    "export": EXPORT,
    "data draw": DRAW,
    "data check": CHECK,
}


def advice(command: Sequence[str], option: str, value: str = "") -> str:
    """Return the advice for an unknown option of a command, such as ["train"], as a sentence; "" if there is none.

    value: the word after the option.
    """
    table = _TABLES.get(" ".join(command[:2]), _TABLES.get(command[0], {})) if command else {}
    name, _, given = option.partition("=")
    name, value = name.lstrip("-").replace("-", "_").lower(), (given or value).lower()
    found = next((sentence for names, sentence in table.items() if name in names.split()), "")
    if found and table is TRAIN and name == "direction" and any("pix2pix" in word for word in command):
        found = "use --objective.direction " + ("BtoA" if value == "btoa" else "AtoB")
    elif found and table is TRAIN:
        found = VALUES.get(name, {}).get(value, found)
    return f"{found[0].upper()}{found[1:]}." if found else ""
