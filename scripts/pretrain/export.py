"""Writes a checkpoint in the format of Hugging Face's BitNetForCausalLM: each linear layer as trits, four per byte, and
a scale; the embedding and the gains in F32.

    python3 export.py DIR OUT      reads DIR/checkpoint.pt and DIR/tokenizer.json
    r3mes-wgpu model import OUT --out MODEL
"""

import json
import pathlib
import shutil
import sys

import torch
from model import BitLinear, Config, Decoder, ternary
from safetensors.torch import save_file


def packed(trits):
    """Packs trits [rows, columns] into U8 [ceil(rows / 4), columns].

    Bits 2i and 2i + 1 of row r hold the code, trit + 1, of row r + i * ceil(rows / 4).
    """
    quarter = -(-trits.shape[0] // 4)
    codes = torch.full((4 * quarter, trits.shape[1]), 1, dtype=torch.uint8)
    codes[: trits.shape[0]] = (trits + 1).to(torch.uint8)
    codes = codes.view(4, quarter, -1)
    return codes[0] | codes[1] << 2 | codes[2] << 4 | codes[3] << 6


def path(name):
    """Returns the name that transformers gives to the weight that is called `name` here."""
    part = name.split(".")
    if part[0] == "layers" and part[2] in ("q_proj", "k_proj", "v_proj", "o_proj", "attn_sub_norm"):
        part.insert(2, "self_attn")
    if part[0] == "layers" and part[2] in ("gate_proj", "up_proj", "down_proj", "ffn_sub_norm"):
        part.insert(2, "mlp")
    return "model." + ".".join(part)


def main(folder, out):
    out.mkdir(parents=True)
    state = torch.load(folder / "checkpoint.pt")
    model = Decoder(Config())
    model.load_state_dict(state["model"])
    linears = {f"{name}.weight" for name, module in model.named_modules() if isinstance(module, BitLinear)}
    tensors = {}
    for name, weight in model.named_parameters():
        weight = weight.detach()
        if name in linears:
            trits, scale = ternary(weight)
            tensors[path(name)] = packed(trits)
            tensors[f"{path(name)}_scale"] = scale.reshape(1)
        else:
            tensors[path(name)] = weight.contiguous()
    save_file(tensors, out / "model.safetensors", {"format": "pt"})
    c = model.c
    config = {
        "architectures": ["BitNetForCausalLM"],
        "model_type": "bitnet",
        "hidden_size": c.width,
        "intermediate_size": c.ffn_width,
        "num_hidden_layers": c.layers,
        "num_attention_heads": c.heads,
        "num_key_value_heads": c.kv_heads,
        "head_dim": c.head_dim,
        "vocab_size": c.vocab,
        "max_position_embeddings": c.context,
        "rope_theta": c.rope_theta,
        "rms_norm_eps": c.norm_epsilon,
        "hidden_act": "relu2",
        "tie_word_embeddings": True,
        "quantization_config": {
            "quant_method": "bitnet",
            "linear_class": "autobitlinear",
            "quantization_mode": "offline",
        },
    }
    (out / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    shutil.copy(folder / "tokenizer.json", out)
    print(f"step {state['step']}")


if __name__ == "__main__":
    main(*map(pathlib.Path, sys.argv[1:]))
