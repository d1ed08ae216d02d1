// <docs-copilot endpoint="/api/docs-chat" sign-in-url="https://…" theme="auto|light|dark" token-from="key">
//
// Asks docsgate's copilot and shows the answer with its sources. No framework, no inline HTML from the server: every
// text is set as text. `token-from` names a localStorage key that holds the member token; without it the browser's
// cookies are sent. Colours are custom properties: --docs-copilot-accent, -text, -muted, -surface, -border.

const STYLE = `
:host { --accent: var(--docs-copilot-accent, #2457d6); --text: var(--docs-copilot-text, #1c2430);
  --muted: var(--docs-copilot-muted, #586374); --surface: var(--docs-copilot-surface, #fff);
  --border: var(--docs-copilot-border, #cfd6e0); display: block; color: var(--text); font: inherit; }
:host([theme="dark"]) { --accent: var(--docs-copilot-accent, #8fb0ff); --text: var(--docs-copilot-text, #e8ecf3);
  --muted: var(--docs-copilot-muted, #a3adbd); --surface: var(--docs-copilot-surface, #171c26);
  --border: var(--docs-copilot-border, #39424f); }
@media (prefers-color-scheme: dark) { :host(:not([theme="light"])) { --accent: var(--docs-copilot-accent, #8fb0ff);
  --text: var(--docs-copilot-text, #e8ecf3); --muted: var(--docs-copilot-muted, #a3adbd);
  --surface: var(--docs-copilot-surface, #171c26); --border: var(--docs-copilot-border, #39424f); } }
.box { background: var(--surface); border: 1px solid var(--border); border-radius: .5rem; padding: 1rem; }
form { display: flex; gap: .5rem; }
label { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
input { flex: 1; min-width: 0; font: inherit; color: inherit; background: transparent; padding: .5rem .75rem;
  border: 1px solid var(--border); border-radius: .375rem; }
button { font: inherit; padding: .5rem 1rem; border: 0; border-radius: .375rem; background: var(--accent);
  color: var(--surface); cursor: pointer; }
button[disabled] { opacity: .6; cursor: progress; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
.answer { margin: 1rem 0 0; line-height: 1.5; white-space: pre-wrap; }
.answer:empty, .status:empty, ol:empty { display: none; }
.status { margin: .75rem 0 0; color: var(--muted); }
ol, ul { margin: .75rem 0 0; padding-left: 1.5rem; }
a { color: var(--accent); }
blockquote { margin: .25rem 0 .5rem; color: var(--muted); font-size: .9em; }
`;

const TEXTS = {
  label: "Ask the documentation",
  placeholder: "Ask the documentation…",
  ask: "Ask",
  working: "Searching the documentation…",
  signIn: "Sign in to ask this.",
  wait: (seconds) => `Too many questions at once. Try again in ${seconds} s.`,
  failed: "The answer could not be fetched. Try again.",
  sources: "Sources",
  nearest: "Nearest pages",
};

function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

/** Only web addresses become links: a document cannot smuggle in a script. */
function link(url, text) {
  try {
    const parsed = new URL(url, document.baseURI);
    if (parsed.protocol === "https:" || parsed.protocol === "http:") {
      return element("a", { href: parsed.href, textContent: text });
    }
  } catch {
    // Not an address: shown as text.
  }
  return element("span", { textContent: text });
}

/** Reads server-sent events from a response; yields [event, data]. */
async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let buffer = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    buffer += value.replaceAll("\r\n", "\n");
    for (let end; (end = buffer.indexOf("\n\n")) >= 0; buffer = buffer.slice(end + 2)) {
      let name = "message";
      const data = [];
      for (const line of buffer.slice(0, end).split("\n")) {
        if (line.startsWith("event:")) name = line.slice(6).trim();
        if (line.startsWith("data:")) data.push(line.slice(5).trimStart());
      }
      if (data.length) yield [name, JSON.parse(data.join("\n"))];
    }
  }
}

class DocsCopilot extends HTMLElement {
  #history = [];
  #request = null;
  #timer = null;

  connectedCallback() {
    if (this.shadowRoot) return;
    const root = this.attachShadow({ mode: "open" });
    this.input = element("input", {
      id: "question", type: "text", autocomplete: "off", maxLength: 2000, required: true,
      placeholder: this.getAttribute("placeholder") ?? TEXTS.placeholder,
    });
    this.button = element("button", { type: "submit", textContent: TEXTS.ask });
    const label = element("label", { htmlFor: "question", textContent: this.getAttribute("label") ?? TEXTS.label });
    const form = element("form", {}, label, this.input, this.button);
    form.setAttribute("role", "search");
    this.status = element("p", { className: "status" });
    this.status.setAttribute("role", "status");
    this.answer = element("p", { className: "answer", tabIndex: -1 });
    // The whole answer is announced once, at its end, and not piece by piece.
    this.answer.setAttribute("aria-live", "polite");
    this.sources = element("ol");
    this.sources.setAttribute("aria-label", TEXTS.sources);
    root.append(element("style", { textContent: STYLE }),
      element("div", { className: "box" }, form, this.status, this.answer, this.sources));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.ask(this.input.value.trim());
    });
    this.addEventListener("keydown", (event) => {
      if (event.key === "Escape") this.stop();
    });
  }

  disconnectedCallback() {
    this.stop();
    clearInterval(this.#timer);
  }

  /** Ends the answer that is under way. */
  stop() {
    this.#request?.abort();
  }

  /** Asks a question and shows the answer. */
  async ask(question) {
    if (!question) return;
    this.stop();
    clearInterval(this.#timer);
    const request = new AbortController();
    this.#request = request;
    this.answer.textContent = "";
    this.answer.setAttribute("aria-busy", "true");
    this.sources.replaceChildren();
    this.status.textContent = TEXTS.working;
    this.button.disabled = true;
    try {
      const response = await fetch(this.getAttribute("endpoint") ?? "/api/docs-chat", {
        method: "POST",
        credentials: "include",
        headers: this.#headers(),
        body: JSON.stringify({ question, history: this.#history.slice(-6), stream: true }),
        signal: request.signal,
      });
      if (!response.ok) return await this.#refused(response);
      for await (const [name, data] of events(response)) {
        if (name === "citation") this.#cite(data);
        if (name === "citations") {
          this.sources.replaceChildren();
          data.citations.forEach((citation) => this.#cite(citation));
        }
        if (name === "delta" || name === "answer.delta") this.answer.textContent += data.text;
        // What the model said so far does not count; the documents' own words follow.
        if (name === "error") {
          this.answer.textContent = "";
          this.sources.replaceChildren();
        }
        if (name === "done") this.#done(question, data);
      }
    } catch (error) {
      this.status.textContent = error.name === "AbortError" ? "" : TEXTS.failed;
    } finally {
      if (this.#request === request) {
        this.button.disabled = this.#timer !== null;
        this.answer.setAttribute("aria-busy", "false");
      }
    }
  }

  #headers() {
    const headers = { "content-type": "application/json", accept: "text/event-stream, application/json" };
    const key = this.getAttribute("token-from");
    const token = key ? localStorage.getItem(key) : null;
    if (token) headers.authorization = `Bearer ${token}`;
    return headers;
  }

  #cite(citation) {
    const path = citation.heading_path?.length ? citation.heading_path.join(" › ") : citation.title;
    const item = element("li", { value: citation.n }, link(citation.url, path));
    if (citation.quote) item.append(element("blockquote", { textContent: citation.quote }));
    this.sources.append(item);
  }

  #done(question, data) {
    this.status.textContent = "";
    this.answer.textContent = data.answer;
    this.#history.push({ role: "user", content: question }, { role: "assistant", content: data.answer });
    if (!data.grounded && data.nearest?.length) {
      this.status.textContent = TEXTS.nearest;
      const pages = data.nearest.map((page) => element("li", {}, link(page.url, page.title)));
      this.sources.replaceChildren(...pages);
    }
    this.dispatchEvent(new CustomEvent("docs-copilot-answer", { bubbles: true, composed: true, detail: data }));
  }

  async #refused(response) {
    const problem = await response.json().catch(() => ({}));
    if (response.status === 401) {
      const url = problem.sign_in_url ?? this.getAttribute("sign-in-url");
      this.status.replaceChildren(url ? link(url, TEXTS.signIn) : TEXTS.signIn);
    } else if (response.status === 429) {
      this.#wait(Math.max(1, Number.parseInt(response.headers.get("retry-after") ?? "5", 10) || 5));
    } else {
      this.status.textContent = problem.detail ?? TEXTS.failed;
    }
  }

  #wait(seconds) {
    const tick = () => {
      if (seconds > 0) {
        this.status.textContent = TEXTS.wait(seconds);
        seconds -= 1;
      } else {
        clearInterval(this.#timer);
        this.#timer = null;
        this.status.textContent = "";
        this.button.disabled = false;
        this.input.focus();
      }
    };
    this.button.disabled = true;
    this.#timer = setInterval(tick, 1000);
    tick();
  }
}

if (!customElements.get("docs-copilot")) customElements.define("docs-copilot", DocsCopilot);
