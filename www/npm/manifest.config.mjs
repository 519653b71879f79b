// Settings of the analyzer that writes `custom-elements.json`: private members are left out, and the entry without a name
// that the analyzer finds where the element dispatches its events.

/** @typedef {{ members?: { privacy?: string, name: string }[], events?: { name?: string }[] }} Declaration */

/** Called by the browser, not by users of the element. */
const CALLBACKS = ["connectedCallback", "disconnectedCallback", "attributeChangedCallback"];

export default {
  plugins: [
    {
      name: "public-parts",
      /** @param {{ customElementsManifest: { modules: { path: string, declarations: Declaration[] }[] } }} context */
      packageLinkPhase({ customElementsManifest }) {
        for (const module of customElementsManifest.modules) {
          for (const declaration of module.declarations) {
            declaration.members = declaration.members?.filter(
              ({ privacy, name }) => privacy !== "private" && !CALLBACKS.includes(name),
            );
            declaration.events = declaration.events?.filter(({ name }) => name);
          }
        }
      },
    },
  ],
};
