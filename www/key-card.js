// The card with which the visitor backs up the session key of this browser. Whoever has this key can spend the coins
// that it earns.

import { find, fragment } from "./dom.js";
import { saveSetting, sessionSecret } from "./storage.js";

const content = fragment(`
  <h2 id="key-title"></h2>
  <p data-at="risk"></p>
  <p data-at="advice">Back up the key now, or enter an address of your own under Settings.</p>
  <p class="buttons">
    <button data-at="show" type="button">Show the key</button>
    <button data-at="choose" type="button">Enter an address</button>
  </p>
  <div data-at="shown" hidden>
    <p><code data-at="key" class="digest"></code></p>
    <p>Whoever has this key can spend its coins: show it to nobody. Write it down, or keep it in a password manager. Wallets such
      as Keplr and Leap import it as a private key, and can then spend the coins.</p>
    <p><button data-at="saved" type="button">I have saved the key</button></p>
  </div>`);

/** Shows this browser's session key when the visitor asks for it, and remembers that the visitor has saved it. */
export class KeyCard {
  #root;

  /**
   * @param {HTMLElement} root the element that the card fills
   * @param {{ onSaved: () => void, onChoose: () => void }} listeners `onSaved` is called when the visitor has saved the
   *   key, `onChoose` when the visitor wants to enter an address instead
   */
  constructor(root, { onSaved, onChoose }) {
    this.#root = root;
    root.replaceChildren(content());
    this.#part("show").addEventListener("click", () => this.reveal());
    this.#part("choose").addEventListener("click", onChoose);
    this.#part("saved").addEventListener("click", async () => {
      this.hide();
      await saveSetting("backedUp", true);
      onSaved();
    });
  }

  /**
   * Shows the card, without the key.
   * @param {{ kept: boolean, paid: boolean }} key whether this browser keeps the key when the page is closed, and whether
   *   the key is the one that is paid
   */
  show({ kept, paid }) {
    find(this.#root, "#key-title", HTMLElement).textContent = paid
      ? "Your coins go to a key that only this browser has"
      : "The key of this browser, which is not paid at present";
    this.#part("advice").hidden = this.#part("choose").hidden = !paid;
    this.#part("risk").textContent = kept
      ? "If the data of this browser is deleted, the key and its coins are lost."
      : "When this page is closed, the key and its coins are lost.";
    this.#root.hidden = false;
  }

  /** Hides the card, and removes the key from the page. */
  hide() {
    this.#root.hidden = true;
    this.#part("shown").hidden = true;
    this.#part("key").textContent = "";
  }

  /** Shows the key itself. */
  async reveal() {
    const bytes = await sessionSecret();
    this.#part("key").textContent = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
    this.#part("shown").hidden = false;
    this.#part("saved").focus();
  }

  /** Moves the keyboard focus to the card. */
  focus() {
    this.#part("show").focus();
  }

  /** @param {string} name */
  #part(name) {
    return find(this.#root, `[data-at="${name}"]`, HTMLElement);
  }
}
