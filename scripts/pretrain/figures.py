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
    lines = [[f"n-gram model of {name} (modified Kneser-Ney)", f"{bits:.3f}"] for name, bits in KNESER_NEY]
    lines.append(["bundled model, evaluated in exact integers (`r3mes-wgpu`)", f"**{told['bits_per_byte']:.4f}**"])
    lines.append([f"bundled model, evaluated in PyTorch (by `train.py`, at the last step, {step:.0f})", f"{last:.4f}"])
    info = json.loads((measured / "info.json").read_text())
    parameters, size = info["parameters"], sum(p.stat().st_size for p in (measured / "model").iterdir())
    words = (
        f"The bundled model has {parameters['ternary']:,} ternary weights, {parameters['embedding']:,} int8 embedding "
        f"weights and {parameters['gains']:,} normalization gains. Its files\n"
        f"take {size / 1e6:.2f} MB. It was trained on {tokens / 1e6:.1f} million tokens. Its CID is\n`{info['model']}`."
    )
    return table(["model", "bits per byte of the held-out text (294,912 bytes)"], lines) + "\n\n" + words


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
        [path, f"{starts[path]:.4f}", *(f"{end:.4f}" for end in ends[path]), f"**−{drops[path]:.4f}**",
         f"{spread(ends[path]):.4f}", f"{drops[path] / spread(ends[path]):,.0f}"]
        for path in colors
    ]  # fmt: skip
    head = [
        "arithmetic", "bits per byte before training", *(f"after, seed {seed}" for seed in SEEDS),
        "mean change", "standard deviation over the seeds", "mean change ÷ standard deviation",
    ]  # fmt: skip
    apart = max(abs(a[1] - b[1]) for seed in SEEDS for a, b in zip(runs["integers", seed], runs["f32", seed]))
    words = (
        f"The table shows the bits per byte of the held-out text before training and after {steps[-1]:.0f} steps. "
        f"In every evaluation, the\ninteger run and the f32 run with the same seed differ by at most {apart:.4f} "
        "bits per byte."
    )
    return table(head, lines) + "\n\n" + words


def quality(measured, _):
    told = json.loads((measured / "quality.json").read_text())
    lines = [["f64 (the reference)", "", "", "", f"{told['held_out_loss_f64']:.4f}", ""]]
    for method in told["methods"]:
        lines.append(
            [method["method"], f"{method['cosine']:.6f}", f"{min(method['matrices']):.6f}", f"{method['norm_ratio']:.5f}",
             f"{method['held_out_loss']:.4f}", f"{method['loss_gap']:+.4f}"]
        )  # fmt: skip
    head = [
        "arithmetic of the gradients", "cosine similarity to the f64 gradient", "lowest cosine similarity of a matrix",
        "norm of the gradient ÷ norm in f64", "held-out loss, nats per token", "loss minus the loss of f64",
    ]  # fmt: skip
    words = (
        f"Each training run takes {told['steps']} steps of one sequence each. The held-out loss before the first step "
        f"is {told['held_out_loss_before']:.4f} nats per token.\nFor the table, all four gradients are computed with "
        f"the adapter that the f64 run has trained. Each gradient is a sum\nover {told['sequences']} sequences."
    )
    return table(head, lines) + "\n\n" + words


def samples(measured, _):
    parts = []
    for path in sorted(measured.glob("sample.*.plain.json")):
        number = path.name.split(".")[1]
        for what, name in ("Without an adapter", "plain"), ("With the adapter of seed 0", "adapted"):
            told = json.loads((measured / f"sample.{number}.{name}.json").read_text())
            parts.append(f"{what}:\n\n```text\n{told['prompt']}{told['text'].rstrip()}\n```")
    return "\n\n".join(parts)


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
