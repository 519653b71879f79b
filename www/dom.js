// Functions that create and find elements of a page.

/**
 * Creates an element with the given children.
 * @template {keyof HTMLElementTagNameMap} Name
 * @param {Name} name
 * @param {...(Node | string)} children
 */
export function element(name, ...children) {
  const created = document.createElement(name);
  created.append(...children);
  return created;
}

/**
 * Creates a table row with one cell for each value.
 * @param {...(string | number)} values
 */
export const tableRow = (...values) => element("tr", ...values.map((value) => element("td", String(value))));

/**
 * Returns the first element below `root` that matches a CSS selector. Throws if no element matches, or if the first
 * match is not an instance of `type`.
 * @template {Element} Type
 * @param {ParentNode} root
 * @param {string} selector
 * @param {new () => Type} type
 * @returns {Type}
 */
export function find(root, selector, type) {
  const found = root.querySelector(selector);
  if (!(found instanceof type)) throw new Error(`no ${type.name} matches ${selector}`);
  return found;
}

/**
 * Returns a function that creates the nodes which `html` describes. The HTML is parsed on the first call, so that a
 * module can be imported where there is no document, such as on a server that renders pages.
 * @param {string} html
 */
export function fragment(html) {
  /** @type {HTMLTemplateElement | undefined} */
  let template;
  return () => {
    if (!template) {
      template = document.createElement("template");
      template.innerHTML = html;
    }
    return template.content.cloneNode(true);
  };
}
