"""Writes the tables and pictures of docs/BACKBONE.md from what `ship` measured.

    python3 figures.py MEASURED DOCS

Writes DOCS/backbone/*.tsv and *.svg, and replaces what is between `<!-- name -->` and `<!-- end -->` in
DOCS/BACKBONE.md.
"""

import json
import math
import pathlib
import re
import statistics
import sys

WIDTH, HEIGHT = 720, 400
LEFT, RIGHT, TOP, BOTTOM = 64, 16, 16, 48
COLORS = ("#0969da", "#bc4c00", "#1a7f37", "#8250df")
STYLE = (
    "text{font:13px sans-serif;fill:#1f2328}.grid{stroke:#d0d7de}"
    "@media(prefers-color-scheme:dark){text{fill:#e6edf3}.grid{stroke:#30363d}}"
)
KNESER_NEY = (("tokens, order 5", 1.407), ("bytes, order 8", 1.517))
SEEDS = (0, 1, 2)


def ticks(low, high, wanted=6):
    """Returns about `wanted` equally spaced round numbers that cover the range from `low` to `high`."""
    raw = (high - low) / wanted
    unit = 10 ** math.floor(math.log10(raw))
    step = next(unit * factor for factor in (1, 2, 5, 10) if unit * factor >= raw)
    first = math.floor(low / step + 1e-9)
    return [step * at for at in range(first, math.ceil(high / step - 1e-9) + 1)]


def chart(x_name, y_name, series, levels=(), highest=math.inf):
    """Returns an SVG of a line for each `(name, color, dashes, points)` of `series` and of a horizontal line for each
    `(name, y)` of `levels`. Points above `highest` are left out.
    """
    series = [(name, color, dash, [p for p in points if p[1] <= highest]) for name, color, dash, points in series]
    points = [point for *_, points in series for point in points]
    ys = [y for _, y in points] + [y for _, y in levels]
    x_ticks, y_ticks = ticks(0, max(x for x, _ in points)), ticks(min(ys), max(ys))
    x_low, x_high, y_low, y_high = x_ticks[0], x_ticks[-1], y_ticks[0], y_ticks[-1]
    at_x = lambda x: LEFT + (x - x_low) / (x_high - x_low) * (WIDTH - LEFT - RIGHT)
    at_y = lambda y: TOP + (y_high - y) / (y_high - y_low) * (HEIGHT - TOP - BOTTOM)
    text = lambda x, y, anchor, words: f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}">{words}</text>'
    line = lambda x1, y1, x2, y2, rest: f'<line x1="{x1:.0f}" y1="{y1:.1f}" x2="{x2:.0f}" y2="{y2:.1f}" {rest}/>'
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">']
    parts.append(f"<title>{y_name} over {x_name}</title><style>{STYLE}</style>")
    for y in y_ticks:
        parts.append(line(LEFT, at_y(y), WIDTH - RIGHT, at_y(y), 'class="grid"'))
        parts.append(text(LEFT - 8, at_y(y) + 4, "end", f"{y:.4g}"))
    parts += [text(at_x(x), HEIGHT - BOTTOM + 18, "middle", f"{x:,.4g}") for x in x_ticks]
    parts.append(text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8, "middle", x_name))
    middle = (TOP + HEIGHT - BOTTOM) / 2
    parts.append(f'<g transform="rotate(-90 16 {middle:.0f})">{text(16, middle, "middle", y_name)}</g>')
    for name, y in levels:
        parts.append(line(LEFT, at_y(y), WIDTH - RIGHT, at_y(y), 'stroke="#cf222e" stroke-dasharray="2 4"'))
        parts.append(text(LEFT + 8, at_y(y) - 5, "start", name))
    for _, color, dash, points in series:
        path = " ".join(f"{at_x(x):.1f},{at_y(y):.1f}" for x, y in points)
        parts.append(
            f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="1.6" stroke-dasharray="{dash}"/>'
        )
    for number, (name, color, dash) in enumerate(dict.fromkeys((name, *how) for name, *how, _ in series)):
        y = TOP + 14 + 18 * number
        parts.append(line(WIDTH - 230, y - 4, WIDTH - 202, y - 4, f'stroke="{color}" stroke-dasharray="{dash}"'))
        parts.append(text(WIDTH - 194, y, "start", name))
    return "\n".join([*parts, "</svg>", ""])


def table(head, rows):
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def events(path, kind):
    """Returns the events of one kind among the lines that `train --json` printed."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [line for line in lines if line["event"] == kind]


def rows(path):
    return [[float(field) for field in line.split("\t")] for line in path.read_text().splitlines()]


def pretraining(measured, docs):
    """Writes the table and the chart of train.py's curve.tsv, whose columns are the step, the tokens so far, the
    running mean of the training loss and the held-out loss, both losses in bits per byte.
    """
    text = (measured / "curve.tsv").read_text()
    curve = rows(measured / "curve.tsv")
    (docs / "backbone/pretraining.tsv").write_text("step\ttokens\ttraining\theld_out\n" + text)
    series = [
        ("held out", COLORS[0], "", [(tokens / 1e6, held) for _, tokens, _, held in curve]),
        ("training, running mean", COLORS[1], "6 3", [(tokens / 1e6, mean) for _, tokens, mean, _ in curve]),
    ]
    levels = [(f"Kneser-Ney, {name}", bits) for name, bits in KNESER_NEY]
    picture = chart("million tokens", "bits per byte", series, levels, highest=2.5)
    (docs / "backbone/pretraining.svg").write_text(picture)


def held_out(measured, _):
    (told,) = events(measured / "held_out.json", "evaluation")
    step, tokens, _, last = rows(measured / "curve.tsv")[-1]
    model = "n-gram model of {} (modified Kneser-Ney)"
    lines = [[model.format(name), f"{bits:.3f} bits per byte"] for name, bits in KNESER_NEY]
    integers = f"**{told['bits_per_byte']:.4f}** bits per byte"
    lines.append(["bundled model, evaluated in exact integers (`r3mes-wgpu`)", integers])
    pytorch = f"bundled model, evaluated in PyTorch (by `train.py`, after the last training step, {step:.0f})"
    lines.append([pytorch, f"{last:.4f} bits per byte"])
    info = json.loads((measured / "info.json").read_text())
    parameters, size = info["parameters"], sum(p.stat().st_size for p in (measured / "model").iterdir())
    words = (
        f"The bundled model has {parameters['ternary']:,} ternary weights, {parameters['embedding']:,} int8 embedding "
        f"weights and {parameters['gains']:,} normalization gains. Its files\n"
        f"take {size / 1e6:.2f} MB. The model was trained on {tokens / 1e6:.1f} million tokens. Its CID is\n"
        f"`{info['model']}`."
    )
    return table(["model", "loss on the held-out text (294,912 bytes)"], lines) + "\n\n" + words


def spread(values):
    """Returns the sample standard deviation."""
    return statistics.stdev(values)


def finetuning(measured, docs):
    """Returns the table of the fine-tuning runs in integers and in f32, with several seeds each; writes their chart.

    The table compares the mean change of the loss with the standard deviation of the final loss over the seeds.
    """
    runs = {}
    for seed in SEEDS:
        told = events(measured / f"finetune/integers.{seed}.json", "evaluation")
        runs["integers", seed] = [(event["step"], event["bits_per_byte"]) for event in told]
        runs["f32", seed] = [(step, bits) for step, bits in rows(measured / f"finetune/float.{seed}.tsv")]
    steps = [step for step, _ in runs["integers", 0]]
    assert all([step for step, _ in run] == steps for run in runs.values()), "runs of different steps"
    head = ["step", *(f"{path}, seed {seed}" for path, seed in runs)]
    body = [[int(step), *(f"{run[at][1]:.4f}" for run in runs.values())] for at, step in enumerate(steps)]
    (docs / "backbone/finetuning.tsv").write_text("".join("\t".join(map(str, line)) + "\n" for line in [head, *body]))
    colors = {"integers": (COLORS[0], ""), "f32": (COLORS[1], "6 3")}
    series = [(f"{path}, seeds 0 to {SEEDS[-1]}", *colors[path], run) for (path, _), run in runs.items()]
    picture = chart("steps of 2048 tokens", "held-out bits per byte", series)
    (docs / "backbone/finetuning.svg").write_text(picture)

    ends = {path: [runs[path, seed][-1][1] for seed in SEEDS] for path in colors}
    starts = {path: runs[path, 0][0][1] for path in colors}
    drops = {path: starts[path] - statistics.mean(ends[path]) for path in colors}
    lines = [
        [f"gradients in {path}", f"{starts[path]:.4f} bits per byte before fine-tuning",
         *(f"{end:.4f} after, seed {seed}" for seed, end in zip(SEEDS, ends[path])),
         f"mean change **−{drops[path]:.4f}**", f"standard deviation {spread(ends[path]):.4f} over the seeds",
         f"mean change of {drops[path] / spread(ends[path]):,.0f} standard deviations"]
        for path in colors
    ]  # fmt: skip
    head = [
        "arithmetic", "loss before fine-tuning", *(f"loss after fine-tuning, seed {seed}" for seed in SEEDS),
        "mean change of the loss", "standard deviation of the loss after fine-tuning",
        "mean change ÷ standard deviation",
    ]  # fmt: skip
    apart = max(abs(a[1] - b[1]) for seed in SEEDS for a, b in zip(runs["integers", seed], runs["f32", seed]))
    words = (
        f"The table shows the loss on the held-out lines of *Moby-Dick* before fine-tuning and after {steps[-1]:.0f} "
        "optimizer steps, in\nbits per byte, for runs with gradients in exact integers (`r3mes-wgpu`) and in f32 "
        "(PyTorch). In every evaluation, the\ninteger run and the f32 run with the same seed differ by at most "
        f"{apart:.4f} bits per byte."
    )
    return table(head, lines) + "\n\n" + words


def quality(measured, _):
    told = json.loads((measured / "quality.json").read_text())
    loss = f"held-out loss {told['held_out_loss_f64']:.4f} nats per token"
    lines = [["gradients in f64, with which the other number formats are compared", "–", "–", "–", loss, "–"]]
    for method in told["methods"]:
        name = method["method"].replace("one ulp off", "with each rounded result moved by one unit in the last place")
        lines.append(
            [f"gradients in {name}", f"cosine similarity {method['cosine']:.6f} to the f64 gradient",
             f"{min(method['matrices']):.6f} for the least similar matrix",
             f"norm {method['norm_ratio']:.5f} × the norm in f64",
             f"held-out loss {method['held_out_loss']:.4f} nats per token",
             f"{method['loss_gap']:+.4f} nats per token compared with f64"]
        )  # fmt: skip
    head = [
        "arithmetic of the gradients", "cosine similarity to the f64 gradient", "lowest cosine similarity of a matrix",
        "norm of the gradient ÷ norm in f64", "held-out loss after training", "held-out loss minus that of the f64 run",
    ]  # fmt: skip
    words = (
        f"Each of the four training runs of `r3mes-wgpu quality` takes {told['steps']} optimizer steps of one sequence "
        "each. The held-out loss\n"
        f"before the first step is {told['held_out_loss_before']:.4f} nats per token. The gradients that the table "
        "compares are computed in each of the\nfour number formats with the same adapter, the one that the f64 run "
        f"has trained. Each gradient is a sum over {told['sequences']}\nsequences."
    )
    return table(head, lines) + "\n\n" + words


def samples(measured, _):
    parts = []
    for path in sorted(measured.glob("sample.*.plain.json")):
        number = path.name.split(".")[1]
        for what, name in ("without an adapter", "plain"), ("with the adapter", "adapted"):
            told = json.loads((measured / f"sample.{number}.{name}.json").read_text())
            parts.append(f"--- {what} ---\n{told['prompt']}{told['text'].rstrip()}")
    return "```text\n" + "\n\n".join(parts) + "\n```"


def main(measured, docs):
    (docs / "backbone").mkdir(exist_ok=True)
    pretraining(measured, docs)
    page = docs / "BACKBONE.md"
    text = page.read_text()
    for write in held_out, finetuning, quality, samples:
        name = write.__name__
        block = f"<!-- {name} -->\n{write(measured, docs)}\n<!-- end -->"
        text, count = re.subn(rf"<!-- {name} -->.*?<!-- end -->", lambda _: block, text, flags=re.DOTALL)
        assert count == 1, f"{page} has {count} places for {name}"
    page.write_text(text)


if __name__ == "__main__":
    main(*map(pathlib.Path, sys.argv[1:]))
