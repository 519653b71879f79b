"""Makes the folders next to this file: small random BitNet models, and what other programs compute from them.

Made with torch 2.15.0, transformers 5.24.0, tokenizers 0.23.3, gguf 0.19.0, numpy 2.4.6, Python 3.11:

    TORCHDYNAMO_DISABLE=1 python tests/data/bitnet/make.py

Neither the tests nor CI run this; they read its files. `reference.safetensors` holds ids [tokens] and the float logits
[tokens, vocab] of `transformers` on the folder as it loads it. The GGUF is written by the `gguf` package, its TQ1_0 and
TQ2_0 by that package's quantizer; i2_s is packed here, as bitnet.cpp's dot product reads it. `k_quants.safetensors` has
blocks of k-quants and their values.
"""

import hashlib
import json
import shutil
from pathlib import Path

import gguf
import numpy as np
import tokenizers
import torch
from gguf import quants
from safetensors.torch import save_file
from transformers import BitNetConfig, BitNetForCausalLM
from transformers.integrations.bitnet import pack_weights

HERE = Path(__file__).parent
LINEARS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
torch.set_num_threads(1)


def sizes(**changed):
    base = dict(num_hidden_layers=2, max_position_embeddings=64, rope_theta=10000.0, tie_word_embeddings=True)
    return BitNetConfig(**{**base, **changed}, bos_token_id=0, eos_token_id=1)


def random_state(config, seed, dtype):
    """Masters and gains, by name; without the head, which is tied."""
    torch.manual_seed(seed)
    state = BitNetForCausalLM(config).state_dict()
    state.pop("lm_head.weight", None)
    for name, value in state.items():
        if name.endswith("norm.weight"):
            value.uniform_(0.5, 1.5)
        else:
            value.normal_(0, 0.7 if "embed" in name else 0.05)
    return {name: value.to(dtype).contiguous() for name, value in state.items()}


def ternary(weight):
    """Trits and what one is worth, as `WeightQuant` does it."""
    mean = weight.float().abs().mean().clamp_(min=1e-5)
    return (weight.float() / mean).round().clamp(-1, 1), mean


def is_linear(name):
    return name.split(".")[-2] in LINEARS


def packed(state, divides):
    out = {}
    for name, value in state.items():
        if is_linear(name):
            trits, mean = ternary(value)
            out[name] = pack_weights(trits.clone())
            out[name.replace("weight", "weight_scale")] = (1 / mean if divides else mean).reshape(1).to(value.dtype)
        else:
            out[name] = value
    return out


def save(folder, config, state, quantization, shards=1):
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    config = {**config.to_dict(), "architectures": ["BitNetForCausalLM"], "dtype": str(state["model.norm.weight"].dtype)[6:]}
    if quantization:
        config["quantization_config"] = {"quant_method": "bitnet", **quantization}
    (folder / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    if shards == 1:
        save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
        return
    names = sorted(state)
    files = [f"model-{i + 1:05}-of-{shards:05}.safetensors" for i in range(shards)]
    where = {name: files[at * shards // len(names)] for at, name in enumerate(names)}
    for file in files:
        save_file({name: state[name] for name in names if where[name] == file}, folder / file, metadata={"format": "pt"})
    total = sum(value.numel() * value.element_size() for value in state.values())
    index = {"metadata": {"total_size": total}, "weight_map": where}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=2) + "\n")


def reference(folder, vocab, out, seed):
    model = BitNetForCausalLM.from_pretrained(folder).eval()
    torch.nn.Module.float(model)  # the model's own refuses
    for module in model.modules():
        if type(module).__name__ == "BitLinear":
            module.dtype = torch.float32
    kinds = {type(module).__name__ for name, module in model.named_modules() if name.endswith("_proj")}
    ids = torch.randint(0, vocab, (1, 48), generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        logits = model(ids).logits[0].float().contiguous()
    print(folder.name, kinds, "logits", tuple(logits.shape), "std", float(logits.std()))
    save_file({"ids": ids[0].to(torch.int32), "logits": logits}, out)


def hugging_face():
    online = {"linear_class": "autobitlinear", "quantization_mode": "online"}
    offline = {"linear_class": "autobitlinear", "quantization_mode": "offline"}
    classic = {"linear_class": "bitlinear", "quantization_mode": "offline"}

    config = sizes(hidden_size=48, intermediate_size=96, num_attention_heads=4, num_key_value_heads=2, vocab_size=160)
    folder = HERE / "masters_bf16_sharded"
    save(folder, config, random_state(config, 1, torch.bfloat16), online, shards=3)
    reference(folder, 160, folder / "reference.safetensors", 1)

    config = sizes(hidden_size=32, intermediate_size=60, num_attention_heads=4, num_key_value_heads=1, vocab_size=99)
    folder = HERE / "masters_f32"
    save(folder, config, random_state(config, 2, torch.float32), online)
    reference(folder, 99, folder / "reference.safetensors", 2)

    config = sizes(hidden_size=64, intermediate_size=112, num_attention_heads=2, num_key_value_heads=1, vocab_size=96)
    folder = HERE / "autobitlinear_bf16"
    save(folder, config, packed(random_state(config, 3, torch.bfloat16), divides=False), offline)
    reference(folder, 96, folder / "reference.safetensors", 3)

    config = sizes(hidden_size=40, intermediate_size=72, num_attention_heads=4, num_key_value_heads=4, vocab_size=130,
                   num_hidden_layers=3)
    folder = HERE / "bitlinear_f32"
    save(folder, config, packed(random_state(config, 4, torch.float32), divides=True), classic)
    reference(folder, 130, folder / "reference.safetensors", 4)


def i2_s(trits, scale):
    """128 weights in 32 bytes, weight j of a block in byte j % 32 at bit 6 - 2 (j / 32); then the scale and 28 zeros."""
    codes = (trits.astype(np.int8) + 1).astype(np.uint8).reshape(-1, 4, 32)
    bytes_ = codes[:, 0] << 6 | codes[:, 1] << 4 | codes[:, 2] << 2 | codes[:, 3]
    return np.concatenate([bytes_.reshape(-1), np.frombuffer(np.float32(scale).tobytes() + bytes(28), np.uint8)])


NAMES = {
    "input_layernorm": "attn_norm", "self_attn.attn_sub_norm": "attn_sub_norm", "post_attention_layernorm": "ffn_norm",
    "mlp.ffn_sub_norm": "ffn_sub_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
TQ1_0, TQ2_0 = gguf.GGMLQuantizationType.TQ1_0, gguf.GGMLQuantizationType.TQ2_0
I2_S = 36


def write_gguf():
    config = sizes(hidden_size=256, intermediate_size=256, num_attention_heads=4, num_key_value_heads=1, vocab_size=64,
                   num_hidden_layers=1)
    state = random_state(config, 5, torch.float32)
    state["model.embed_tokens.weight"] = state["model.embed_tokens.weight"].half().float()
    for name in [name for name in state if is_linear(name)]:
        trits, mean = ternary(state[name])
        # what a half holds, because blocks of TQ1_0 and TQ2_0 have halves
        state[name] = trits * mean.half().float()
        if "gate" in name:
            state[name][3] = 0  # a block without a weight has the scale 0
    path = HERE / "mixed.gguf"
    writer = gguf.GGUFWriter(path, "bitnet-b1.58")
    writer.add_name("random")
    writer.add_vocab_size(64)
    writer.add_context_length(64)
    writer.add_embedding_length(256)
    writer.add_block_count(1)
    writer.add_feed_forward_length(256)
    writer.add_rope_dimension_count(64)
    writer.add_head_count(4)
    writer.add_head_count_kv(1)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    writer.add_token_list([f"t{i}" for i in range(64)])
    kinds = {"q_proj": TQ1_0, "o_proj": TQ1_0, "gate_proj": TQ2_0, "k_proj": TQ2_0}
    binary = []
    for name, value in state.items():
        value = value.numpy()
        if name == "model.embed_tokens.weight":
            writer.add_tensor("token_embd.weight", value.astype(np.float16))
        elif name == "model.norm.weight":
            writer.add_tensor("output_norm.weight", value)
        else:
            layer, rest = name.removeprefix("model.layers.").removesuffix(".weight").split(".", 1)
            name = f"blk.{layer}.{NAMES[rest]}.weight"
            if not rest.endswith("_proj"):
                writer.add_tensor(name, value)
            elif kind := kinds.get(rest.split(".")[-1]):
                writer.add_tensor(name, quants.quantize(value, kind), raw_dtype=kind)
            else:
                scale = np.abs(value).max()
                data = i2_s(np.sign(value).reshape(-1), scale)
                binary.append((name, value.shape, data))
    for name, shape, data in binary:
        # the package does not know i2_s, but writes the number of any type
        writer.add_tensor(name, data.view(np.int8), raw_shape=shape, raw_dtype=I2_S)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()

    # the reference: the same trits and scales as transformers knows them
    folder = HERE / "gguf_as_folder"
    out = {}
    for name, value in state.items():
        out[name] = value
        if is_linear(name):
            out[name] = pack_weights(torch.sign(value))
            out[name.replace("weight", "weight_scale")] = value.abs().max().reshape(1)
    save(folder, config, out, {"linear_class": "autobitlinear", "quantization_mode": "offline"})
    reference(folder, 64, HERE / "mixed.reference.safetensors", 5)
    shutil.rmtree(folder)


def tokenizer():
    """A byte-level BPE with Llama 3's pattern, and digests of the ids of lines, a hundred at a time."""
    text = (HERE / "../../../native/data/moby-dick.txt").read_text(encoding="utf-8")
    pattern = (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    )
    maker = tokenizers.Tokenizer(tokenizers.models.BPE(ignore_merges=True))
    maker.pre_tokenizer = tokenizers.pre_tokenizers.Sequence([
        tokenizers.pre_tokenizers.Split(tokenizers.Regex(pattern), "isolated"),
        tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])
    maker.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=1200, special_tokens=["<|begin_of_text|>", "<|end_of_text|>"], show_progress=False,
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
    )
    maker.train_from_iterator(text.splitlines()[:3000], trainer)
    begin = maker.token_to_id("<|begin_of_text|>")
    maker.post_processor = tokenizers.processors.TemplateProcessing(
        single="<|begin_of_text|> $A", special_tokens=[("<|begin_of_text|>", begin)]
    )
    folder = HERE / "tokenizer"
    folder.mkdir(exist_ok=True)
    maker.save(str(folder / "tokenizer.json"), pretty=False)
    odd = [
        "", " ", "\t\t x", "a\r\nb\rc\n\nd  ", "don't I'LL we'Ve", "1234567 3.14 ٣٤٥ ²½", "Ünïcödé ﬁ ß ſ İ ı",
        "日本語テキスト と 漢字", "👩‍👩‍👧 🏳️‍🌈 \u200d\u00a0\u3000x", "e\u0301 é \u1e9b\u0323", "<|begin_of_text|> in the <|end_of_text|> text",
        "\ufeffbom \ufffd \u0000 nul", "مرحبا שלום नमस्ते", "   leading and trailing   ", "x" * 3000, "\u2028\u2029\u0085 lines",
    ]
    (folder / "odd_lines.json").write_text(json.dumps(odd, ensure_ascii=True, indent=1) + "\n")
    lines = odd + text.split("\n")[:5000]
    digests, count = [], 0
    for at in range(0, len(lines), 100):
        digest = hashlib.sha256()
        for line in lines[at:at + 100]:
            ids = maker.encode(line).ids
            count += len(ids)
            digest.update(np.array([len(ids), *ids], np.uint32).tobytes())
        digests.append(digest.hexdigest()[:16])
    (folder / "digests.txt").write_text("\n".join(digests) + "\n")
    print("tokenizer", maker.get_vocab_size(), "tokens,", len(lines), "lines,", count, "ids")


def k_quants():
    """Random blocks of Q4_K and Q6_K, and their values as the `gguf` package decodes them, like ggml."""
    random, tensors = np.random.default_rng(6), {}
    for kind, size, halves in [("Q4_K", 144, [0, 2]), ("Q6_K", 210, [208])]:
        blocks = random.integers(0, 256, (4, size), dtype=np.uint8)
        for at in halves:
            blocks[:, at:at + 2] = random.uniform(0.0001, 0.01, (4, 1)).astype(np.float16).view(np.uint8)
        values = quants.dequantize(blocks, gguf.GGMLQuantizationType[kind]).astype(np.float32)
        tensors[kind], tensors[f"{kind}.values"] = torch.tensor(blocks), torch.tensor(values)
    save_file(tensors, HERE / "k_quants.safetensors")


hugging_face()
tokenizer()
write_gguf()
k_quants()
