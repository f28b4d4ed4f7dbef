"""Recognises unsupported kinds of networks by tensor names, for error messages."""

from __future__ import annotations

import re
from collections.abc import Iterable

_GENERATORS = "only generators of CycleGAN, pix2pix and CUT are read"

_KINDS: tuple[tuple[str, str], ...] = (
    (r"(.*\.)?(down_blocks\.\d+\.(resnets|attentions)|input_blocks\.\d+\.|time_embed(ding)?\.)",
     f"holds the U-Net of a diffusion model; {_GENERATORS}"),
    (r".*(lora_(up|down|A|B)\b|\.lora\.)|unet_lora_target_modules|state_dict_unet",
     f"holds changes to a diffusion model (LoRA); {_GENERATORS}"),
    (r"(.*\.)?(encoder|decoder)\.(down|up|mid|down_blocks|up_blocks|mid_block)\.(\d|block|attn|resnets)",
     f"holds an autoencoder of a diffusion model; {_GENERATORS}"),
    (r"(.*\.)?(synthesis\.b?\d|synthesis\.first|synthesis\.input|mapping\.fc\d|mapping\.embed)"
     r"|(.*\.)?(style\.\d+\.(weight|bias)|to_rgbs?\d*\.\d*|final_linear\.\d\.weight)"
     r"|(.*\.)?convs?\d?\.(\d+\.)?conv\.modulation",
     f"holds a network of StyleGAN; {_GENERATORS}"),
    (r"(.*\.)?(encoder|decoder)\.(convs|model|block|conv)\.?\d*\..*(modulation|kernel|noise)",
     f"holds the StyleGAN2 generator of CUT's code (--netG stylegan2); {_GENERATORS}, its ResNets among them"),
    (r"(.*\.)?mlp_\d+\.\d\.weight",
     "holds the heads that CUT contrasts with (netF), for training alone; give latest_net_G.pth"),
    (r"(.*\.)?(DownBlock|UpBlock\d*|UpBlock1_\d|gap_fc|gmp_fc)\b", f"holds a network of U-GAT-IT; {_GENERATORS}"),
    (r"(.*\.)?(enc_content|enc_style|mlp\.model)\.",
     f"holds a network of MUNIT; {_GENERATORS}"),
    (r"(.*\.)?down\d\.model\.0\.weight|(.*\.)?up\d\.model\.0\.weight",
     f"holds PyTorch-GAN's GeneratorUNet, whose layers come in another order than pix2pix's; {_GENERATORS}"),
    (r"(.*\.)?scale\d_layer\d\.|(.*\.)?layer\d\.\d\.(weight|bias)$|(.*\.)?discriminator_\d\.",
     "holds the discriminators of pix2pixHD, for training alone; give the generator's file"),
    (r"(.*\.)?features\.\d+\.(\d+\.)?(weight|bias|0\.weight)$|(.*\.)?classifier\.\d*\.?(weight|bias)$",
     f"holds a network that classifies images, such as VGG; {_GENERATORS}"),
    (r"(.*\.)?layer[1-4]\.\d+\.(conv1|bn1)\.|(.*\.)?Mixed_\d\w\.",
     f"holds a network that classifies images; {_GENERATORS}"),
    (r".*(attn|attention|self_attn)\.(q_proj|k_proj|qkv|in_proj_weight|query)", f"holds a transformer; {_GENERATORS}"),
    (r".*\.(exp_avg|exp_avg_sq|momentum_buffer)$",
     "holds the state of an optimizer, not a network; give the generator's file"),
    (r".*(weight_orig|weight_u|parametrizations\.\w+\.original\d?)$",
     "holds weights under spectral or weight normalisation, which no generator of the official code has; remove "
     "it with torch.nn.utils.parametrize.remove_parametrizations before saving"),
)  # fmt: skip
"""A tensor name that is specific to the kind of network, and the description."""

_LONGEST = 300  # maximum characters of a name for pattern matching


def unsupported_network(keys: Iterable[str]) -> str | None:
    """Return the description of a known unsupported network, as "holds a ...", else None."""
    known = [key for key in keys if len(key) <= _LONGEST]
    for pattern, words in _KINDS:
        if any(re.match(pattern, key) for key in known):
            return words
    return None
