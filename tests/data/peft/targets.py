"""Writes targets.json next to this file: for each of several configs, the adapter_config.json that PEFT saves, and the
modules that PEFT adapts in a BitNet with two layers, each with its rank and its scale.

Made with Python 3.11, torch 2.15.0, transformers 5.24.0, peft 0.21.2:

    python tests/data/peft/targets.py
"""

import json
import tempfile
from pathlib import Path

from peft import LoraConfig, get_peft_model
from peft.tuners.lora import LoraLayer
from transformers import BitNetConfig, BitNetForCausalLM

UNSLOTH = (
    r"(?:.*?(?:language|text).*?(?:self_attn|attention|attn|mlp|feed_forward|ffn|dense).*?(?:q_proj|k_proj|v_proj|"
    r"o_proj|gate_proj|up_proj|down_proj).*?)|"
    r"(?:\bmodel\.layers\.[\d]{1,}\.(?:self_attn|attention|attn|mlp|feed_forward|ffn|dense)\."
    r"(?:(?:q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj)))"
)
CASES = [
    dict(target_modules=["q_proj", "v_proj"]),
    dict(target_modules="all-linear"),
    dict(target_modules=UNSLOTH),
    dict(target_modules=r".*\.(q|k)_proj"),
    dict(target_modules=r".*_proj(?<!o_proj)"),
    dict(target_modules=[f"model.layers.{i}.mlp.up_proj" for i in range(2)]),
    dict(target_modules=["q_proj", "query_key_value"]),
    dict(target_modules=["proj", "mlp.gate_proj"]),
    dict(target_modules=["q_proj"], layers_to_transform=[0, 1]),
    dict(target_modules=["q_proj", "model.layers.0.self_attn.k_proj"], layers_to_transform=1),
    dict(target_modules=["q_proj"], layers_to_transform=[0, 1], layers_pattern="layers"),
    dict(target_modules=["q_proj"], layers_to_transform=[1]),
    dict(target_modules="all-linear", exclude_modules=["o_proj"]),
    dict(target_modules=["q_proj", "up_proj"], exclude_modules=r".*self_attn.*"),
    dict(target_modules=["q_proj", "v_proj"], use_rslora=True),
    dict(target_modules=["q_proj", "v_proj"], use_rslora=True, r=9, lora_alpha=5),
    dict(target_modules=["q_proj", "v_proj"], use_rslora=True, r=8),
    dict(target_modules=["q_proj", "v_proj"], rank_pattern={"q_proj": 16}, alpha_pattern={"q_proj": 32}),
    dict(target_modules=["q_proj", "v_proj"], rank_pattern={".*_proj": 16}, alpha_pattern={"[qv]_proj": 32}),
    dict(target_modules=["q_proj", "v_proj"], alpha_pattern={"model.layers.1.self_attn.v_proj": 3}),
    dict(target_modules=["q_proj", "v_proj"], alpha_pattern={"up_proj": 3}, rank_pattern={"j": 7}),
]


def case(changed):
    sizes = dict(num_hidden_layers=2, hidden_size=32, intermediate_size=48, num_attention_heads=2, vocab_size=64)
    model = BitNetForCausalLM(BitNetConfig(num_key_value_heads=1, **sizes))
    model = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", **{"r": 4, "lora_alpha": 8, **changed}))
    with tempfile.TemporaryDirectory() as scratch:
        # as the user wrote it: PEFT replaces "all-linear" by the names of the modules
        saved = Path(scratch) / "adapter_config.json"
        model.save_pretrained(scratch)
        written = {**json.loads(saved.read_text()), **changed}
    modules = {
        name.removeprefix("base_model.model."): [module.r["default"], module.scaling["default"]]
        for name, module in model.named_modules()
        if isinstance(module, LoraLayer)
    }
    return {"config": written, "modules": modules}


cases = [case(changed) for changed in CASES]
text = ",\n".join(json.dumps(one, sort_keys=True) for one in cases)
(Path(__file__).parent / "targets.json").write_text(f"[\n{text}\n]\n")
print([len(one["modules"]) for one in cases])
