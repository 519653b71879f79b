// Elements, made in one line.

/** An element with these children: elements or texts. */
export function element(name, ...children) {
  const made = document.createElement(name);
  made.append(...children);
  return made;
}

/** A table's row of these texts. */
export const row = (...texts) => element("tr", ...texts.map((text) => element("td", text)));

/** Micro-units as people read them. */
export const coins = (units) => `${(units / 1e6).toLocaleString(undefined, { maximumFractionDigits: 6 })} R3MES`;

/** Bytes as people read them. */
export const megabytes = (bytes) => `${(bytes / 1e6).toFixed(1)} MB`;
