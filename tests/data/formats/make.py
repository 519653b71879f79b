"""Writes the lists next to this file: the keys of the formats that this program imports, as their libraries list them.

Made with transformers 5.24.0, gguf 0.19.0 and peft 0.21.2:

    python tests/data/formats/make.py

Unit tests compare the lists with those of the readers: each key is used, known to be harmless, or refused by name.
"""

import dataclasses
from pathlib import Path

import gguf
import peft
from transformers import BitNetConfig, GenerationConfig
from transformers.modeling_rope_utils import RopeParameters
from transformers.utils.quantization_config import BitNetQuantConfig

HERE = Path(__file__).parent


def write(name, keys):
    (HERE / name).write_text("".join(f"{key}\n" for key in sorted(set(keys))))


def constants(space):
    for name, value in vars(space).items():
        if isinstance(value, str) and name.isupper():
            yield value
        elif isinstance(value, type):
            yield from constants(value)


config = set(BitNetConfig().to_dict()) | {field.name for field in dataclasses.fields(BitNetConfig)}
config |= set(GenerationConfig._get_default_generation_params())
rope = {f"rope_parameters.{name}" for name in RopeParameters.__annotations__}
quantization = {f"quantization_config.{name}" for name in BitNetQuantConfig().to_dict()}
write("bitnet_config_keys.txt", config | rope | quantization | {"quantization_config", "head_dim"})
write("gguf_keys.txt", (value for value in constants(gguf.Keys) if "." in value))
write("lora_config_fields.txt", (field.name for field in dataclasses.fields(peft.LoraConfig)))
