// The loss chart: draws the losses of the last tasks as a line on a canvas, in the text color of the page.

const MAX_VALUES = 200;
/** The smallest difference of losses that fills the chart, in nats, so that noise does not look like progress. */
const MIN_SPAN = 0.1;

/** A line chart of the last 200 losses. */
export class Chart {
  #canvas;
  #caption;
  /** @type {number[]} */
  #values = [];

  /**
   * @param {HTMLCanvasElement} canvas
   * @param {HTMLElement} caption the element that receives a description of the line in words
   */
  constructor(canvas, caption) {
    this.#canvas = canvas;
    this.#caption = caption;
    new ResizeObserver(() => this.#draw()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#draw());
  }

  /**
   * Adds a loss and draws the chart again. Ignores `undefined`, the loss of a void task (a task without a gradient).
   * @param {number | undefined} value
   */
  add(value) {
    if (value === undefined || !Number.isFinite(value)) return;
    this.#values.push(value);
    if (this.#values.length > MAX_VALUES) this.#values.shift();
    this.#draw();
  }

  #draw() {
    const canvas = this.#canvas;
    const { clientWidth: width, clientHeight: height } = canvas;
    canvas.width = width * devicePixelRatio;
    canvas.height = height * devicePixelRatio;
    const context = canvas.getContext("2d");
    if (!context) return;
    context.scale(devicePixelRatio, devicePixelRatio);
    context.strokeStyle = getComputedStyle(canvas).color;
    context.lineWidth = 2;
    // without losses, a dashed line shows where the chart will be
    const isEmpty = this.#values.length < 2;
    if (isEmpty) context.setLineDash([4, 8]);
    context.beginPath();
    for (const [x, y] of linePoints(isEmpty ? [0, 0] : this.#values, width, height)) context.lineTo(x, y);
    context.stroke();
    if (isEmpty) return;
    this.#caption.textContent = describeLosses(this.#values);
  }
}

/**
 * Returns the points [x, y] of the line. They are at least 2 CSS pixels from the edges, so that the whole thickness
 * of the line is visible. The smallest value is at the bottom.
 * @param {number[]} values at least two values
 * @param {number} width the width of the canvas in CSS pixels
 * @param {number} height the height of the canvas in CSS pixels
 * @returns {[number, number][]}
 */
export function linePoints(values, width, height) {
  const low = Math.min(...values);
  const span = Math.max(Math.max(...values) - low, MIN_SPAN);
  return values.map((value, index) => [
    (index / (values.length - 1)) * (width - 4) + 2,
    height - 4 - ((value - low) / span) * (height - 8),
  ]);
}

/**
 * Returns the caption of the chart: the first, last, lowest and highest loss.
 * @param {number[]} losses at least two losses
 */
export function describeLosses(losses) {
  const [first, last, low, high] = [losses[0], losses.at(-1), Math.min(...losses), Math.max(...losses)].map((loss) =>
    loss?.toFixed(3),
  );
  return `Loss of the last ${losses.length} tasks: first ${first}, last ${last}, lowest ${low}, highest ${high}`;
}
