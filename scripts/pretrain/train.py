"""Trains the bundled backbone. The training can be stopped and continued at any time.

    python3 train.py DIR                until Ctrl-C; the same command continues from DIR/checkpoint.pt
    python3 train.py DIR --decay 600    the last 600 steps, with the learning rate falling to zero

The learning rate is constant after a warm-up; its linear decay is started by hand (Hu et al., "MiniCPM", 2024). Muon
(Jordan et al., 2024) optimizes the ternary matrices, AdamW the embedding and the gains. Runs on PyTorch 2.15 on a CPU.
"""

import argparse
import pathlib
import time

import numpy
import torch
from model import BitLinear, Config, Decoder

SEQUENCES = 32
WARM_UP = 100
MUON = {"lr": 0.02, "momentum": 0.95, "weight_decay": 0.02}
ADAMW = {"lr": 0.003, "betas": (0.9, 0.95), "weight_decay": 0.0}
MINUTES = 5  # the time between two checkpoints


def tokens(path):
    return torch.from_numpy(numpy.fromfile(path, dtype=numpy.uint16).astype(numpy.int64))


def batch(data, context, step):
    """Returns sequences at random places of the data, and their labels. The places depend only on the step's number."""
    generator = torch.Generator().manual_seed(step)
    starts = torch.randint(len(data) - context, (SEQUENCES,), generator=generator)
    return torch.stack([data[at : at + context] for at in starts]), torch.stack(
        [data[at + 1 : at + 1 + context] for at in starts]
    )


@torch.no_grad()
def bits_per_token(model, data, every=1):
    """Returns the mean loss in bits per token. Evaluates one in `every` windows, each as long as the model's context.

    The first tokens of a window are predicted with little context.
    """
    context = model.c.context
    count = (len(data) - 1) // context
    ids, labels = data[: count * context].view(count, context), data[1 : count * context + 1].view(count, context)
    ids, labels = ids[::every], labels[::every]
    losses = [model.loss(i, l).item() * len(i) for i, l in zip(ids.split(32), labels.split(32))]
    return sum(losses) / len(ids) / numpy.log(2)


def optimizers(model):
    matrices = [module.weight for module in model.modules() if isinstance(module, BitLinear)]
    chosen = {id(weight) for weight in matrices}
    others = [weight for weight in model.parameters() if id(weight) not in chosen]
    return [torch.optim.Muon(matrices, **MUON), torch.optim.AdamW(others, **ADAMW)]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("dir", type=pathlib.Path)
    parser.add_argument("--decay", type=int, help="steps until the end")
    parser.add_argument("--steps", type=int, help="stop after this many")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(1)

    data, held_out = tokens(options.dir / "train.u16"), tokens(options.dir / "held_out.u16")
    per_byte = len(held_out) / (options.dir / "held_out.bin").stat().st_size
    model = Decoder(Config())
    muon_adamw = optimizers(model)
    step, decay = 0, None
    saved = options.dir / "checkpoint.pt"
    if saved.exists():
        state = torch.load(saved)
        step, decay = state["step"], state["decay"]
        model.load_state_dict(state["model"])
        for optimizer, values in zip(muon_adamw, state["optimizers"]):
            optimizer.load_state_dict(values)
    if options.decay and decay is None:
        decay = (step, step + options.decay)
    end = decay[1] if decay else step + options.steps if options.steps else None

    def save():
        state = {"step": step, "decay": decay, "model": model.state_dict()}
        state["optimizers"] = [optimizer.state_dict() for optimizer in muon_adamw]
        torch.save(state, saved.with_suffix(".new"))
        saved.with_suffix(".new").rename(saved)

    loss_of = torch.compile(model.loss)
    log = (options.dir / "curve.tsv").open("a")
    spoken, mean = time.time(), None
    while end is None or step < end:
        rate = min(1, (step + 1) / WARM_UP)
        if decay:
            rate *= (decay[1] - step) / (decay[1] - decay[0])
        for optimizer, settings in zip(muon_adamw, (MUON, ADAMW)):
            for group in optimizer.param_groups:
                group["lr"] = settings["lr"] * rate
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = loss_of(*batch(data, model.c.context, step))
        loss.backward()
        for optimizer in muon_adamw:
            optimizer.step()
            optimizer.zero_grad()
        step += 1
        bits = loss.item() / numpy.log(2) * per_byte
        mean = bits if mean is None else 0.98 * mean + 0.02 * bits
        if step % 20 == 0:
            print(f"step {step}  {mean:.4f} bits per byte  rate {rate:.3f}", flush=True)
        if time.time() - spoken > 60 * MINUTES or step == end:
            held = bits_per_token(model, held_out, 1 if step == end else 8) * per_byte
            print(f"step {step}  held out {held:.4f} bits per byte", flush=True)
            print(step, step * SEQUENCES * model.c.context, f"{mean:.4f}", f"{held:.4f}", sep="\t", file=log, flush=True)
            save()
            spoken = time.time()


if __name__ == "__main__":
    main()
