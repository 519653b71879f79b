// A line of numbers on a small canvas, drawn in the page's own colour.

const KEPT = 200;

export class Chart {
  #canvas;
  #caption;
  #values = [];

  /** `caption` says in words what the line shows. */
  constructor(canvas, caption) {
    this.#canvas = canvas;
    this.#caption = caption;
    new ResizeObserver(() => this.#draw()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#draw());
  }

  /** Adds a value; one that is none is left out. */
  add(value) {
    if (!Number.isFinite(value)) return;
    this.#values.push(value);
    if (this.#values.length > KEPT) this.#values.shift();
    this.#draw();
  }

  #draw() {
    const canvas = this.#canvas;
    const { clientWidth: width, clientHeight: height } = canvas;
    canvas.width = width * devicePixelRatio;
    canvas.height = height * devicePixelRatio;
    if (this.#values.length < 2) return;
    const [low, high] = [Math.min(...this.#values), Math.max(...this.#values)];
    const context = canvas.getContext("2d");
    context.scale(devicePixelRatio, devicePixelRatio);
    context.strokeStyle = getComputedStyle(canvas).color;
    context.lineWidth = 2;
    context.beginPath();
    this.#values.forEach((value, at) => {
      const x = (at / (this.#values.length - 1)) * (width - 4) + 2;
      const y = height - 4 - ((value - low) / (high - low || 1)) * (height - 8);
      if (at === 0) context.moveTo(x, y);
      else context.lineTo(x, y);
    });
    context.stroke();
    const [first, last] = [this.#values[0], this.#values.at(-1)].map((value) => value.toFixed(3));
    this.#caption.textContent = `Loss of the last ${this.#values.length} tasks: from ${first} to ${last}, between ${low.toFixed(3)} and ${high.toFixed(3)}`;
  }
}
