"""Makes the fixtures in this folder: a tiny BitNet b1.58, an adapter for it that this program trained, and what
transformers and PEFT compute from both.

    python make.py R3MES_WGPU_BINARY

Made with Python 3.11, torch 2.15.0 (CPU, one thread), transformers 5.24.0, peft 0.21.2, safetensors 0.8.0.
The tests need none of these: tests/peft reads the files only.

model/            config.json and model.safetensors in the packing of BitNetForCausalLM, linear_class autobitlinear, offline:
                  random masters quantized by absmean, an embedding that int8 rows hold exactly
adapter/          what `r3mes-wgpu adapter export` wrote of an adapter that `r3mes-wgpu train` made in three steps
saved_config.json the adapter_config.json that PEFT itself saves of that adapter
reference.safetensors
                  ids [sequences, context]; logits [sequences, context, vocab]; loss, summed, in nats; and the gradient of that
                  loss with respect to every lora_A and lora_B, under PEFT's names. The label of a token is the next
                  token of the whole text, also across sequences; the last token has none.
                  logits_int8 are the logits where LoRA, too, sees the int8 x of the frozen product, as ours does
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

os.environ["TORCHDYNAMO_DISABLE"] = "1"  # the quantizers are decorated with torch.compile

import torch
from peft import PeftModel
from peft.tuners.lora import Linear as LoraLinear
from safetensors.torch import load_file, save_file
from transformers import BitNetForCausalLM
from transformers.integrations.bitnet import ActQuant

HERE = Path(__file__).parent
LAYERS, WIDTH, HEADS, KV_HEADS, FFN, VOCAB, CONTEXT, SEQUENCES, RANK = 2, 64, 4, 2, 128, 256, 32, 2, 4
EMBEDDING_UNIT = 2.0**-8


def pack(trits):
    """[rows, columns] of -1, 0, 1 as [rows / 4, columns] bytes: row r + i * rows / 4 at bit 2i, code trit + 1."""
    codes = (trits + 1).to(torch.uint8).view(4, trits.shape[0] // 4, trits.shape[1])
    return sum(codes[i] << 2 * i for i in range(4)).to(torch.uint8)


def make_model(directory):
    directory.mkdir(exist_ok=True)
    random = torch.Generator().manual_seed(2027)
    tensors = {}

    def linear(name, rows, columns):
        master = torch.randn(rows, columns, generator=random) * 0.06
        mean = master.abs().mean()
        tensors[f"{name}.weight"] = pack((master / mean).round().clamp(-1, 1))
        tensors[f"{name}.weight_scale"] = mean.reshape(1)

    def gain(name, width):
        # multiples of 1/128 in 0.5..1.5: exact in bf16
        tensors[f"{name}.weight"] = (torch.randint(64, 193, (width,), generator=random) / 128).to(torch.bfloat16)

    for i in range(LAYERS):
        layer = f"model.layers.{i}"
        for name, rows in [("q", WIDTH), ("k", WIDTH // 2), ("v", WIDTH // 2), ("o", WIDTH)]:
            linear(f"{layer}.self_attn.{name}_proj", rows, WIDTH)
        linear(f"{layer}.mlp.gate_proj", FFN, WIDTH)
        linear(f"{layer}.mlp.up_proj", FFN, WIDTH)
        linear(f"{layer}.mlp.down_proj", WIDTH, FFN)
        gain(f"{layer}.input_layernorm", WIDTH)
        gain(f"{layer}.post_attention_layernorm", WIDTH)
        gain(f"{layer}.self_attn.attn_sub_norm", WIDTH)
        gain(f"{layer}.mlp.ffn_sub_norm", FFN)
    gain("model.norm", WIDTH)
    embedding = torch.randint(-127, 128, (VOCAB, WIDTH), generator=random)
    embedding[:, 0] = 127  # every row's absmax, so that each is int8 under one unit
    tensors["model.embed_tokens.weight"] = (embedding * EMBEDDING_UNIT).to(torch.bfloat16)
    save_file(tensors, directory / "model.safetensors", metadata={"format": "pt"})
    config = {
        "architectures": ["BitNetForCausalLM"],
        "model_type": "bitnet",
        "hidden_size": WIDTH,
        "intermediate_size": FFN,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KV_HEADS,
        "vocab_size": VOCAB,
        "max_position_embeddings": CONTEXT,
        "rope_theta": 10000.0,
        "rms_norm_eps": 1e-5,
        "hidden_act": "relu2",
        "tie_word_embeddings": True,
        "bos_token_id": None,
        "eos_token_id": None,
        "torch_dtype": "float32",
        "quantization_config": {
            "quant_method": "bitnet",
            "linear_class": "autobitlinear",
            "quantization_mode": "offline",
            "modules_to_not_convert": ["lm_head"],
        },
    }
    (directory / "config.json").write_text(json.dumps(config, indent=2) + "\n")


def make_adapter(binary, model, directory):
    shutil.rmtree(directory, ignore_errors=True)
    with tempfile.TemporaryDirectory() as scratch:
        text = Path(scratch) / "text"
        text.write_bytes(bytes(97 + i * i // 7 % 26 for i in range(4 * 2048)))
        train = [binary, "train", "--model", model, "--text", text, "--out", scratch, "--data-dir", scratch]
        subprocess.run([*train, "--rank", str(RANK), "--steps", "3", "--learning-rate", "0.02", "--backend", "cpu"], check=True)
        export = [binary, "adapter", "export", scratch, "--out", directory, "--base-model", "tests/data/peft/model"]
        subprocess.run(export, check=True)


def reference(model, adapter):
    torch.set_num_threads(1)
    base = BitNetForCausalLM.from_pretrained(model, dtype=torch.float32, attn_implementation="eager")
    base = torch.nn.Module.float(base)  # embedding and gains stay bf16 otherwise
    linear = base.model.layers[0].mlp.up_proj
    assert type(linear).__name__ == "AutoBitLinear" and not linear.online_quant, linear
    assert base.lm_head.weight.data_ptr() == base.model.embed_tokens.weight.data_ptr()
    peft = PeftModel.from_pretrained(base, adapter, is_trainable=True)
    random = torch.Generator().manual_seed(2028)
    ids = torch.randint(0, VOCAB, (SEQUENCES, CONTEXT), generator=random)
    logits = peft(input_ids=ids).logits
    loss = torch.nn.functional.cross_entropy(logits.view(-1, VOCAB)[:-1], ids.view(-1)[1:], reduction="sum")
    loss.backward()
    tensors = {"ids": ids.to(torch.int32), "logits": logits.detach().contiguous(), "loss": loss.detach().reshape(1)}
    for name, parameter in peft.named_parameters():
        if parameter.requires_grad:
            tensors[name.replace(".default", "")] = parameter.grad.contiguous()
    with tempfile.TemporaryDirectory() as scratch:
        peft.save_pretrained(scratch)
        saved, ours = (load_file(Path(directory) / "adapter_model.safetensors") for directory in (scratch, adapter))
        assert saved.keys() == ours.keys() and all(torch.equal(saved[name], ours[name]) for name in ours)
        shutil.copyfile(Path(scratch) / "adapter_config.json", HERE / "saved_config.json")
    for module in peft.modules():
        if isinstance(module, LoraLinear):
            module.lora_A["default"].register_forward_pre_hook(lambda _, x: ActQuant.apply(x[0]))
    with torch.no_grad():
        tensors["logits_int8"] = peft(input_ids=ids).logits.contiguous()
    distance = (tensors["logits_int8"] - logits).norm() / logits.norm()
    print(f"LoRA on int8 x: {distance.item():.5f} of the logits' norm away")
    print(f"loss {loss.item() / (ids.numel() - 1):.6f} nats a token, logits of deviation {logits.std().item():.3f}")
    print(f"{len(tensors) - 4} gradients")
    return tensors


if __name__ == "__main__":
    make_model(HERE / "model")
    make_adapter(sys.argv[1], HERE / "model", HERE / "adapter")
    save_file(reference(HERE / "model", HERE / "adapter"), HERE / "reference.safetensors")
