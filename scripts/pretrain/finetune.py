"""Fine-tunes a model by LoRA in floating point, step for step as `r3mes-wgpu train` does in integers.

    python3 finetune.py MODEL ADAPTER TRAIN EVAL --steps N

MODEL is a folder that `model import` wrote, ADAPTER a PEFT folder with the initial adapter; TRAIN and EVAL are texts.
Prints lines `step<TAB>bits per byte`, measured on EVAL. The gradients are those of PyTorch's autograd in f32. Each step
trains on one chunk of 2048 tokens. The optimizer is AdamW with the settings of `train`.
"""

import argparse
import json
import pathlib

import torch
from model import BitLinear, Config, Decoder
from safetensors.torch import load_file
from tokenizers import Tokenizer

CHUNK = 2048
SEQUENCES = 32  # the number of sequences that are computed at a time
CLIP = 1.0
ADAMW = {"lr": 0.002, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.01}
NO_LABEL = -100


def config(folder):
    found = json.loads((folder / "config.json").read_text())
    return Config(
        layers=found["num_hidden_layers"],
        width=found["hidden_size"],
        heads=found["num_attention_heads"],
        kv_heads=found["num_key_value_heads"],
        head_dim=found["head_dim"],
        ffn_width=found["intermediate_size"],
        vocab=found["vocab_size"],
        context=found["max_position_embeddings"],
        rope_theta=found["rope_theta"],
        norm_epsilon=found["rms_norm_eps"],
    )


def masters(codes, scale, rows):
    """Returns weights whose absolute mean is `scale` and whose signs are the trits that `codes` packs.

    `model.ternary` computes the same trits and the same scale from these weights.
    """
    trits = torch.cat([codes >> 2 * i & 3 for i in range(4)])[:rows].float() - 1
    return trits * scale / trits.abs().mean()


def frozen(folder):
    """Returns the model in a folder. Its weights have no gradients."""
    tensors = load_file(folder / "model.safetensors")
    model = Decoder(config(folder)).requires_grad_(False)
    for name, weight in model.named_parameters():
        path = "model." + name
        for part, names in ("self_attn", ("q_", "k_", "v_", "o_", "attn_")), ("mlp", ("gate_", "up_", "down_", "ffn_")):
            for start in names:
                path = path.replace(f".{start}", f".{part}.{start}")
        found, scale = tensors[path], tensors.get(f"{path}_scale")
        if found.dtype == torch.uint8:
            found = masters(found, scale, len(weight))
        elif found.dtype == torch.int8:
            found = found.float() * scale[:, None]
        weight.copy_(found)
    return model


def adapt(model, folder):
    """Reads the PEFT adapter in a folder, attaches its factors to the linear layers, and returns all factors."""
    settings = json.loads((folder / "adapter_config.json").read_text())
    scaling = settings["lora_alpha"] / settings["r"]
    tensors = load_file(folder / "adapter_model.safetensors")
    pairs = {}
    for name, value in tensors.items():
        path, factor, _ = name.rsplit(".", 2)
        pairs.setdefault(path.split(".layers.")[1], {})[factor] = value.requires_grad_()
    for name, module in model.named_modules():
        if isinstance(module, BitLinear):
            number, linear = name.removeprefix("layers.").split(".")
            (found,) = (pair for path, pair in pairs.items() if path.split(".")[::2] == [number, linear])
            module.adapter = (found["lora_A"], found["lora_B"], scaling)
    return list(tensors.values())


def labelled(tokens, context):
    """Cuts tokens into sequences of `context` tokens. Returns a pair for each sequence: its tokens and their labels.

    The label of a token is the token that follows it. The last token has no label.
    """
    labels = torch.cat((tokens[1:], torch.tensor([NO_LABEL])))
    return list(zip(tokens.split(context), labels.split(context)))


def sums(model, sequences):
    """Yields losses in nats. Each is the sum over the tokens of one batch of sequences.

    Only the last sequence may be shorter than the model's context.
    """
    whole = [pair for pair in sequences if len(pair[0]) == model.c.context]
    rest = [pair for pair in sequences if len(pair[0]) != model.c.context]
    for part in [whole[at : at + SEQUENCES] for at in range(0, len(whole), SEQUENCES)] + [[pair] for pair in rest]:
        ids, labels = (torch.stack(side) for side in zip(*part))
        yield model.loss(ids, labels) * (labels != NO_LABEL).sum()


def main():
    parser = argparse.ArgumentParser()
    for name in "model", "adapter", "train", "eval":
        parser.add_argument(name, type=pathlib.Path)
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--eval-steps", type=int, default=20)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)

    model = frozen(options.model)
    parameters = adapt(model, options.adapter)
    tokenizer = Tokenizer.from_file(str(options.model / "tokenizer.json"))
    tokens = lambda path: torch.tensor(tokenizer.encode(path.read_bytes().decode()).ids)
    chunks = [chunk for chunk in tokens(options.train).split(CHUNK) if len(chunk) == CHUNK]
    held_out = labelled(tokens(options.eval), model.c.context)
    size = options.eval.stat().st_size
    optimizer = torch.optim.AdamW(parameters, **ADAMW)
    for step in range(options.steps + 1):
        if step % options.eval_steps == 0 or step == options.steps:
            with torch.no_grad():
                bits = sum(sums(model, held_out)) / torch.log(torch.tensor(2.0)) / size
            print(step, f"{bits:.5f}", sep="\t", flush=True)
        if step < options.steps:
            chunk = labelled(chunks[step % len(chunks)], model.c.context)
            (sum(sums(model, chunk)) / (CHUNK - 1)).backward()
            torch.nn.utils.clip_grad_norm_(parameters, CLIP)
            optimizer.step()
            optimizer.zero_grad()


if __name__ == "__main__":
    main()
