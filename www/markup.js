// The HTML of the miner element, <r3mes-miner>.

import { fragment } from "./dom.js";

/** Creates the content of the miner element's shadow root. */
export const content = fragment(`
  <p id="unkept" class="warning" hidden>This browser lets this page store nothing. You can mine, but when this page is closed,
    everything is forgotten: your settings, your consent, and the key that this browser creates.</p>
  <section id="consent" aria-labelledby="consent-title" hidden>
    <h2 id="consent-title">May this page mine on this device?</h2>
    <ul>
      <li><strong>What runs:</strong> training of a small adapter of a language model, on the GPU of this device, or on its
        processor if it has no GPU. Mining never starts by itself.</li>
      <li><strong>Who is paid:</strong> <span id="who"></span> There is no developer fee.</li>
      <li><strong>What it costs:</strong> electricity, as much as a game uses: tens of watts on a laptop, hundreds on a
        large GPU. The device gets warm, and its fan may speed up.</li>
      <li><strong>What others see:</strong> the results, the payout address, and the kind of GPU that computed them.</li>
    </ul>
    <p class="buttons"><button id="agree" type="button">I agree</button> <button id="decline" type="button">Decline</button></p>
  </section>
  <p id="declined" hidden>You declined. Nothing runs on this device. <button id="ask" type="button">Ask again</button></p>
  <section id="controls" aria-label="Mining" hidden>
    <section id="key-card" class="warning" aria-labelledby="key-title" hidden></section>
    <p class="buttons">
      <button id="start" type="button">Start</button>
      <button id="pause" type="button" disabled>Pause</button>
      <button id="finish" type="button" disabled title="Completes the current task, then stops">Finish</button>
      <button id="stop" type="button" disabled>Stop</button>
    </p>
    <div role="status">
      <p id="state"></p>
      <p id="reason"></p>
    </div>
    <p class="muted">Paid to <span id="payee" class="digest"></span></p>
    <dl>
      <div><dt>Loss</dt><dd id="loss">–</dd></div>
      <div><dt>Accepted tasks</dt><dd id="accepted">0</dd></div>
      <div><dt>Acceptance rate</dt><dd id="share">–</dd></div>
      <div><dt>Earned this session</dt><dd id="earned">–</dd></div>
      <div><dt>Balance</dt><dd id="balance">–</dd></div>
      <div><dt>Pending tasks</dt><dd id="pending">0</dd></div>
    </dl>
    <p><label>Current task <progress id="progress" max="1" value="0"></progress></label> <span id="task"></span></p>
    <div class="wide"><table>
      <thead><tr><th scope="col">Average over</th><th scope="col">tokens/s</th><th scope="col">tasks/min</th></tr></thead>
      <tbody id="rates"></tbody>
    </table></div>
    <figure>
      <canvas id="chart" aria-hidden="true"></canvas>
      <figcaption id="chart-caption" class="muted">The loss of each accepted task, from the second task on</figcaption>
    </figure>
    <details>
      <summary>Device: <span id="device">not started</span></summary>
      <p id="device-reason"></p>
      <dl id="device-facts"></dl>
      <ul id="lowerings"></ul>
      <p class="muted">A page cannot choose between two GPUs. It asks the browser for the faster one. If the browser uses
        the other one, set the browser to high performance in the graphics settings of the system. A page cannot read
        temperature, fan speed or power.</p>
    </details>
    <details id="settings">
      <summary>Settings</summary>
      <section id="wallet" aria-label="Payout"></section>
      <p>This browser's own key: <span id="address" class="digest">created at the first start</span>
        <button id="show-key" type="button">Back up this key</button></p>
      <fieldset>
        <legend>Intensity</legend>
        <label><input type="radio" name="preset" value="0.25" /> Eco</label>
        <label><input type="radio" name="preset" value="0.6" /> Balanced</label>
        <label><input type="radio" name="preset" value="1" /> Max</label>
        <label for="intensity">Compute for</label> <input id="intensity" type="range" min="0.05" max="1" step="0.05" />
        <output id="intensity-value" for="intensity"></output>
      </fieldset>
      <fieldset>
        <legend>Pause</legend>
        <label><input id="battery" type="checkbox" /> on battery power</label>
        <label><input id="hidden" type="checkbox" /> while this tab is hidden</label>
        <label><input id="frames" type="checkbox" /> while this page draws too slowly</label>
        <label><input id="user" type="checkbox" /> while someone is using this page</label>
      </fieldset>
      <p>
        <label>Stop after <input id="cap" type="number" min="0" step="1" inputmode="numeric" /> minutes (0: never)</label>
        <label>Backend <select id="backend"><option value="auto">automatic</option><option value="gpu">GPU</option><option value="cpu">CPU</option></select></label>
        <label><input id="awake" type="checkbox" /> Keep the screen awake</label>
      </p>
      <p>Cached on this device: <span id="size">–</span> <button id="clear" type="button">Clear</button>
        <button id="withdraw" type="button">Withdraw consent</button></p>
      <p id="unsubmitted" role="status" hidden>A computed gradient that is not submitted yet was kept, because its reward would be
        lost. <button id="discard" type="button">Delete it too</button></p>
    </details>
    <details open>
      <summary>Submissions</summary>
      <div class="wide" tabindex="0" role="region" aria-label="Submissions"><table>
        <thead><tr><th scope="col">Time</th><th scope="col">Status</th><th scope="col">Loss</th><th scope="col">Reward</th><th scope="col">CID</th><th scope="col">Gradient digest</th><th scope="col">Transaction</th><th scope="col">Receipt</th></tr></thead>
        <tbody id="submissions"></tbody>
      </table></div>
    </details>
    <details id="checks">
      <summary>Check this device or a receipt</summary>
      <p><button id="test" type="button">Check this device</button></p>
      <p><label for="receipt">Receipt, as JSON</label><textarea id="receipt" rows="3" spellcheck="false"></textarea></p>
      <p><button id="verify" type="button">Verify this receipt</button></p>
      <div id="findings" role="status"></div>
    </details>
    <details>
      <summary>Log</summary>
      <p><label>Filter <input id="filter" type="search" /></label> <button id="copy" type="button">Copy diagnostics</button></p>
      <ol id="log" tabindex="0" aria-label="Log"></ol>
    </details>
  </section>`);
