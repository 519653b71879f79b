// The styles of <r3mes-miner>, the same on every page. Colors follow the light or dark setting of the system.
//
// The styles are a constructed style sheet, so that a page needs to allow no style sheet in its Content Security Policy.

const css = String.raw;
const STYLES = css`
  :host {
    --text: light-dark(#1b1f24, #e6e9ee);
    --muted: light-dark(#57606a, #9aa4b2);
    --line: light-dark(#d0d7de, #30363d);
    --accent: light-dark(#0b5cad, #7cb7ff);
    --background: light-dark(#ffffff, #14171c);
    display: block;
    color-scheme: light dark;
    padding: 1rem;
    border: 1px solid var(--line);
    border-radius: 0.6rem;
    background: var(--background);
    color: var(--text);
    font:
      1rem/1.5 system-ui,
      sans-serif;
  }

  [hidden] {
    display: none !important;
  }

  h2 {
    margin: 0 0 0.5rem;
    font-size: 1.15rem;
  }

  button,
  input,
  select {
    font: inherit;
    color: inherit;
    background: none;
    border: 1px solid var(--line);
    border-radius: 0.4rem;
    padding: 0.35rem 0.8rem;
  }

  option {
    background: var(--background);
  }

  button {
    border-color: var(--accent);
    color: var(--accent);
    cursor: pointer;
  }

  button:disabled {
    border-color: var(--line);
    color: var(--muted);
    cursor: default;
  }

  :focus-visible {
    outline: 3px solid var(--accent);
    outline-offset: 2px;
  }

  #wallet [data-at="payout"] {
    width: min(100%, 28rem);
    box-sizing: border-box;
  }

  .buttons {
    display: flex;
    flex-wrap: wrap;
    gap: 0.5rem;
    margin: 0;
  }

  #state {
    margin: 0.75rem 0 0;
    font-weight: 600;
  }

  #reason {
    margin: 0;
    min-height: 1.5em;
    color: var(--muted);
  }

  dl {
    display: grid;
    grid-template-columns: repeat(auto-fit, minmax(8rem, 1fr));
    gap: 0.5rem 1rem;
    margin: 0.75rem 0;
  }

  dt {
    color: var(--muted);
    font-size: 0.85rem;
  }

  dd {
    margin: 0;
    font-size: 1.25rem;
    font-variant-numeric: tabular-nums;
  }

  figure {
    margin: 0.75rem 0;
  }

  #chart {
    display: block;
    width: 100%;
    height: 6rem;
    color: var(--accent);
  }

  details {
    margin-top: 0.75rem;
    border-top: 1px solid var(--line);
    padding-top: 0.5rem;
  }

  summary {
    cursor: pointer;
  }

  label {
    margin-right: 1rem;
  }

  .wide {
    overflow-x: auto;
  }

  table {
    border-collapse: collapse;
    font-size: 0.9rem;
  }

  th,
  td {
    padding: 0.2rem 0.8rem 0.2rem 0;
    text-align: left;
    white-space: nowrap;
  }

  .digest,
  #log,
  #lowerings {
    font-family: ui-monospace, monospace;
    font-size: 0.85rem;
  }

  p .digest {
    overflow-wrap: anywhere;
  }

  .warning {
    margin: 0 0 1rem;
    padding: 0.75rem 1rem;
    border: 1px solid light-dark(#9a6700, #e3b341);
    border-radius: 0.4rem;
  }

  #log {
    max-height: 14rem;
    overflow: auto;
    overflow-wrap: anywhere;
  }

  fieldset {
    margin: 0.75rem 0;
    border: 1px solid var(--line);
    border-radius: 0.4rem;
  }

  textarea {
    display: block;
    width: 100%;
    box-sizing: border-box;
    font: inherit;
    font-family: ui-monospace, monospace;
    color: inherit;
    background: none;
    border: 1px solid var(--line);
    border-radius: 0.4rem;
  }

  progress {
    accent-color: var(--accent);
  }

  .muted {
    color: var(--muted);
    font-size: 0.9rem;
  }

  .rejected {
    color: light-dark(#b3261e, #ff9c94);
  }

  .accepted {
    color: light-dark(#14633a, #6fdc9c);
  }
`;

/** @type {CSSStyleSheet | undefined} shared by all elements */
let sheet;

/**
 * Adds the styles to a shadow root.
 * @param {ShadowRoot} root
 */
export function addStyles(root) {
  if (!sheet) {
    sheet = new CSSStyleSheet();
    sheet.replaceSync(STYLES);
  }
  root.adoptedStyleSheets = [sheet];
}
