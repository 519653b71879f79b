"""Compares the training step of this program on the CPU with PyTorch's, in one run.

    python3 peers.py STEP_BENCH [--threads N] [--rounds N] [MODEL ...]

STEP_BENCH is the program that `cargo bench --bench step --no-run` builds. `scripts/peers` builds it, installs PyTorch,
and runs this file.

A step is the forward and the backward pass of LoRA (rank 8, all linear layers) over a frozen model, without the
optimizer. In PyTorch the model is what a user would take: linear layers with dense weights, without fake quantization,
and `scaled_dot_product_attention`, in which each query head has keys and values of its own. Apart from this, both sides
have the same shapes. They have the same number of threads, and run in turn, two steps each in a round. Each time is the
fastest of all rounds, because other work on the machine can only make a step slower.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import time

import torch
import torch.nn.functional as F

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "scripts" / "pretrain"))
from model import BitLinear, Config, Decoder

RANK = 8
MODELS = {
    "deep": (Config(), 8),
    "wide": (Config(4, 1024, 16, 16, 64, 2816, 512, 128), 1),
    "long": (Config(1, 2560, 20, 5, 128, 6912, 512, 2048), 1),
}
ATTENTION = ("attention", "attention_backward_query", "attention_backward_key")
PRODUCTS = ("ternary_matmul", "ternary_matmul_backward")


def plain(self, x):
    """The forward pass of a linear layer with an adapter, without quantization."""
    a, b, scaling = self.adapter
    return F.linear(x, self.weight) + scaling * F.linear(F.linear(x, a), b)


BitLinear.forward = plain


def adapted(config, dtype):
    """Returns a frozen model with a trainable adapter on each linear layer."""
    torch.manual_seed(7)
    model = Decoder(config).requires_grad_(False).to(dtype)
    for module in model.modules():
        if isinstance(module, BitLinear):
            out_features, in_features = module.weight.shape
            a = torch.randn(RANK, in_features, dtype=dtype) * 0.01
            b = torch.randn(out_features, RANK, dtype=dtype) * 0.01
            module.adapter = (a.requires_grad_(), b.requires_grad_(), 2.0)
    return model


def torch_step(config, sequences, dtype):
    """Returns a function that computes one step."""
    model = adapted(config, dtype)
    ids, labels = torch.randint(config.vocab, (2, sequences, config.context))

    def step():
        for module in model.modules():
            if isinstance(module, BitLinear):
                module.adapter[0].grad = module.adapter[1].grad = None
        model.loss(ids, labels).backward()

    return step


def torch_attention(config, sequences, dtype):
    """Returns a function that computes the attention of all layers, forward and backward."""
    shape = (sequences, config.heads, config.context, config.head_dim)
    q, k, v, gradient = (torch.randn(shape, dtype=dtype).requires_grad_() for _ in range(4))

    def attention():
        for _ in range(config.layers):
            F.scaled_dot_product_attention(q, k, v, is_causal=True).backward(gradient.detach())
            q.grad = k.grad = v.grad = None

    return attention


def milliseconds(run):
    start = time.perf_counter()
    run()
    return 1e3 * (time.perf_counter() - start)


def ours(program, name, threads):
    command = [program, "--json", "--runs", "2", "--model", name, str(threads)]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    part = lambda kernels: sum(found["kernels"][kernel] for kernel in kernels)
    whole = sum(found["kernels"].values())
    return {"step": found["ms"], "attention": part(ATTENTION), "products": part(PRODUCTS), "kernels": whole}


def main():
    parser = argparse.ArgumentParser(description="Compares training steps with PyTorch's.")
    parser.add_argument("step_bench")
    parser.add_argument("models", nargs="*", default=list(MODELS), metavar="MODEL", help=", ".join(MODELS))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_intermixed_args()
    for name in options.models:
        if name not in MODELS:
            parser.error(f"{name} is not a model: {', '.join(MODELS)}")
    torch.set_num_threads(options.threads)
    dtypes = {"f32": torch.float32}
    # without instructions for it, PyTorch takes minutes for a step in bf16
    if torch.ops.mkldnn._is_mkldnn_bf16_supported():
        dtypes["bf16"] = torch.bfloat16

    print(f"PyTorch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}, {options.threads} threads", end="")
    print("" if "bf16" in dtypes else ", no instructions for bf16")
    for name in options.models:
        config, sequences = MODELS[name]
        rivals = {}
        for label, dtype in dtypes.items():
            rivals[f"{label} step"] = torch_step(config, sequences, dtype)
            rivals[f"{label} attention"] = torch_attention(config, sequences, dtype)
        times = {}
        for at in range(options.rounds + 1):
            found = ours(options.step_bench, name, options.threads)
            found |= {label: min(milliseconds(run), milliseconds(run)) for label, run in rivals.items()}
            # in the first round PyTorch sets up its kernels
            if at > 0:
                times = {label: min(ms, times.get(label, ms)) for label, ms in found.items()}
        tokens = sequences * config.context
        rate = lambda ms: f"{1e3 * tokens / ms:.0f} tokens/s"
        print(f"\n{name}: {tokens} tokens, {options.rounds} rounds")
        print(f"  this program: {times['step']:.0f} ms, {rate(times['step'])}; ", end="")
        print(f"attention {times['attention']:.0f} ms, products {times['products'] / times['kernels']:.0%} of all kernels")
        for label in dtypes:
            step, attention = times[f"{label} step"], times[f"{label} attention"]
            print(f"  PyTorch {label}: {step:.0f} ms, {rate(step)}; attention {attention:.0f} ms")
            print(f"    speed of this program ÷ speed of PyTorch {label}: ", end="")
            print(f"step {step / times['step']:.2f}, attention {attention / times['attention']:.2f}", flush=True)


if __name__ == "__main__":
    main()
