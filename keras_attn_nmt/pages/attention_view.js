"use strict";

/**
 * The view of one translation: its words, their attention, and a heat map of it.
 * Needs elements.js, attention_text.js and attention_map.js before it.
 *
 *   const view = new AttentionView(container, {sourceLanguage: "de", targetLanguage: "en"});
 *   view.show(translation, {words: true});  // as `keras-attn-nmt translate --json` prints it
 *   view.destroy();
 *
 * Without `words`, words are shown unless a side has only one, as in scripts without spaces, or as
 * the user chose before. The option `toggle: false` hides the choice.
 *
 * Events on the container: `attention-select` with `{source, target, words}`, the indices of the
 * hovered or focused unit, null for none; `attention-words` with `{words}` when the user chooses.
 */
globalThis.AttentionView = (() => {
  const {
    element, download, copyText, isolated, languageName, moveFocus, textIn,
  } = PageElements;
  const {strongest, scoresOf} = AttentionText;
  // Maximum number of target units in the summary of the heat map.
  const MOST_SUMMARIZED = 12;
  // Minimum weight of a visible thread.
  const FAINTEST = 0.04;
  const NONE = Object.freeze({source: null, target: null});
  const SVG = "http://www.w3.org/2000/svg";
  const HINT = "Point at a word, or move to it with Tab and arrow keys, to see what it looked at.";
  const NO_ATTENTION =
    "This model has no attention: the encoder compresses the source into one vector, and the " +
    "decoder generates each word of the translation from it.";
  const THEME = ["ink", "paper", "muted", "accent", "cell", "line"];

  const note = (text) => element("p", {class: "attention-note"}, text);

  class AttentionView {
    static wordOfTokens = AttentionText.wordOfTokens;
    static foldAttention = AttentionText.foldAttention;
    static spelled = AttentionText.spelled;
    static tokenTexts = AttentionText.tokenTexts;
    static tokenText = (piece) => AttentionText.tokenTexts([piece])[0];
    static #made = 0;

    #container;
    #options;
    #name = `attention-${(AttentionView.#made += 1)}`;
    #translation = null;
    #data = null;
    // Whether words are shown, and the user's choice.
    #words = true;
    #chosen = null;
    #parts = {};
    #place = null;
    #hovered = null;
    #focused = null;
    #width = 0;
    // Only the width matters: the view changes its own height.
    #observer = new ResizeObserver(() => {
      if (this.#container.clientWidth !== this.#width) this.#resize();
    });
    #dark = matchMedia("(prefers-color-scheme: dark)");
    #repaint = () => this.#light();

    constructor(container, options = {}) {
      this.#container = container;
      this.#options = {sourceLanguage: "", targetLanguage: "", toggle: true, ...options};
      container.classList.add("attention-view");
      this.#observer.observe(container);
      this.#dark.addEventListener("change", this.#repaint);
    }

    destroy() {
      this.#observer.disconnect();
      this.#dark.removeEventListener("change", this.#repaint);
      this.#container.classList.remove("attention-view");
      this.#container.replaceChildren();
    }

    /** Whether words are shown, not subwords. */
    get words() {
      return this.#words;
    }

    show(translation, {words} = {}) {
      const {source_tokens: sources, target_tokens: targets} = translation;
      this.#translation = translation;
      this.#words = words ?? this.#chosen ?? ![sources, targets].some(AttentionText.hasNoSpaces);
      this.#data = AttentionText.prepare(translation, this.#words);
      this.#build();
    }

    /** Highlights the attention of a unit, such as `{source: 2, target: null}`; fires no event. */
    select({source = null, target = null} = NONE) {
      this.#hovered = source === null && target === null ? null : {source, target};
      this.#light();
    }

    #build() {
      this.#hovered = this.#focused = null;
      const {sources, targets, weights} = this.#data;
      if (!sources.length || !targets.length) {
        this.#parts = {};
        this.#container.replaceChildren(note("There is nothing to show: the text is empty."));
        return;
      }
      const threads = document.createElementNS(SVG, "svg");
      threads.setAttribute("class", "attention-threads");
      threads.setAttribute("aria-hidden", "true");
      const detail = element("p", {class: "attention-detail", "aria-hidden": "true"});
      this.#parts = {threads, detail, status: element("span", {role: "status"})};
      const lines = element("div", {class: "attention-lines"}, threads);
      lines.append(this.#line("source", sources), this.#line("target", targets));
      lines.addEventListener("pointerleave", () => this.#hover(null));
      this.#parts.lines = lines;
      const attends = weights.some((row) => row.some((weight) => weight > 0));
      const map = attends ? this.#map() : note(NO_ATTENTION);
      this.#container.replaceChildren(lines, detail, map, this.#toolbar());
      if (this.#translation.reference !== undefined) lines.append(this.#reference());
      this.#resize();
    }

    /** One side's units: Tab moves to the first, arrow keys to the others. */
    #line(side, units) {
      const language = this.#options[`${side}Language`];
      const caption = [languageName(language) || (side === "source" ? "Source" : "Translation")];
      if (side === "target") caption.push(...scoresOf(this.#translation));
      const line = element("div", {
        class: `attention-line attention-${side}`,
        ...textIn(language),
        role: "listbox",
        "aria-orientation": "horizontal",
        "aria-label": `${side === "source" ? "Source" : "Translation"}, ${caption.join(", ")}`,
      });
      const options = units.map(({text, spaced, symbol}, index) => {
        const option = element("span", {class: "attention-unit", role: "option"}, text);
        option.tabIndex = index ? -1 : 0;
        if (symbol) {
          option.dir = "ltr";
          option.classList.add("attention-symbol");
        }
        option.setAttribute("aria-label", this.#nameOf(side, index));
        if (side === "target") {
          option.style.setProperty("--probability", this.#data.probabilities[index].toFixed(3));
        }
        option.addEventListener("pointerenter", () => this.#hover({...NONE, [side]: index}));
        option.addEventListener("focus", () => this.#focus(side, index));
        option.addEventListener("blur", () => this.#focus(side, null));
        if (spaced) line.append(" ");
        line.append(option);
        return option;
      });
      line.addEventListener("keydown", (event) => moveFocus(event, line, options));
      this.#parts[side] = {line, options};
      const title = element("p", {class: "attention-caption"}, caption.join(" \u00b7 "));
      // Threads are between the lines, captions are not.
      const inside = side === "source" ? [title, line] : [line, title];
      return element("div", {class: "attention-side"}, ...inside);
    }

    #reference() {
      const {reference} = this.#translation;
      const title = element("p", {class: "attention-caption"}, "Reference");
      const attributes = {class: "attention-plain", ...textIn(this.#options.targetLanguage)};
      const text = element("p", attributes, reference);
      return element("div", {class: "attention-side"}, title, text);
    }

    /** A unit's accessible name: "forty-one, probability 0.98, looked at einundvierzig 0.93". */
    #nameOf(side, index, spell = String) {
      const {sources, targets, probabilities, weights} = this.#data;
      if (side === "source") {
        const column = weights.map((row) => row[index]);
        const by = strongest(column, targets, spell);
        return [spell(sources[index].text), by && `looked at by ${by}`].filter(Boolean).join(", ");
      }
      const at = strongest(weights[index], sources, spell);
      const parts = [spell(targets[index].text), `probability ${probabilities[index].toFixed(2)}`];
      return [...parts, at && `looked at ${at}`].filter(Boolean).join(", ");
    }

    #map() {
      const canvas = element("canvas", {class: "attention-canvas", role: "img"});
      canvas.setAttribute("aria-label", this.#summary());
      const pointed = ({offsetX, offsetY}) =>
        this.#hover(AttentionMap.cellAt(this.#place, this.#directions, offsetX, offsetY));
      canvas.addEventListener("pointermove", pointed);
      canvas.addEventListener("pointerdown", pointed);
      canvas.addEventListener("pointerleave", ({pointerType}) => {
        // A lifted finger also leaves the canvas.
        if (pointerType === "mouse") this.#hover(null);
      });
      this.#parts.canvas = canvas;
      this.#parts.box = element("div", {class: "attention-map"}, canvas);
      return this.#parts.box;
    }

    #summary() {
      const {sources, targets, weights} = this.#data;
      const what = this.#words ? "words" : "subwords";
      const links = targets.slice(0, MOST_SUMMARIZED).map(({text}, row) => {
        return `${text}: ${strongest(weights[row], sources, String) || "nothing"}`;
      });
      if (targets.length > MOST_SUMMARIZED) links.push("and so on, as each word above says");
      const size = `${targets.length} target ${what} by ${sources.length} source ${what}`;
      return `Attention heat map, ${size}. ${links.join("; ")}.`;
    }

    #toolbar() {
      const button = (text, label, act) => {
        const made = element("button", {type: "button", "aria-label": label}, text);
        made.addEventListener("click", act);
        return made;
      };
      const actions = element(
        "div",
        {class: "attention-actions"},
        this.#parts.status,
        button("Copy", "Copy the translation", () => this.#copy()),
        this.#parts.canvas ? button("PNG", "Download as PNG", () => this.#savePicture()) : "",
        button("JSON", "Download as JSON", () => {
          const json = JSON.stringify(this.#translation, null, 1);
          download(new Blob([json], {type: "application/json"}), "attention.json");
        }),
      );
      const bar = element("div", {class: "attention-toolbar"}, actions);
      if (this.#options.toggle) bar.prepend(this.#toggle());
      return bar;
    }

    #toggle() {
      const choices = [true, false].map((words) => {
        const radio = element("input", {type: "radio", name: this.#name});
        radio.checked = words === this.#words;
        radio.addEventListener("change", () => this.#choose(words));
        return element("label", {}, radio, element("span", {}, words ? "Words" : "Subwords"));
      });
      const group = {class: "attention-toggle", role: "radiogroup", "aria-label": "Units"};
      return element("div", group, ...choices);
    }

    #choose(words) {
      this.#chosen = words;
      this.show(this.#translation);
      this.#container.querySelector(".attention-toggle input:checked").focus();
      this.#fire("attention-words", {words});
    }

    async #copy() {
      try {
        await copyText(this.#translation.translation);
        this.#report("Copied");
      } catch {
        this.#report("The browser does not allow copying");
      }
    }

    #report(message) {
      const {status} = this.#parts;
      status.textContent = message;
      setTimeout(() => (status.textContent = ""), 2500);
    }

    #savePicture() {
      const look = {theme: this.#theme(), directions: this.#directions};
      const canvas = AttentionMap.picture(this.#translation, this.#data, look);
      canvas.toBlob((blob) => {
        if (blob) download(blob, "attention.png");
        else this.#report("The picture is too large for this browser.");
      }, "image/png");
    }

    // Pointer moves are frequent: the same unit needs no update.
    #hover(unit) {
      const former = this.#hovered ?? NONE;
      const {source, target} = unit ?? NONE;
      if (source === former.source && target === former.target) return;
      this.#hovered = unit;
      this.#activate();
    }

    #focus(side, index) {
      this.#focused = index === null ? null : {...NONE, [side]: index};
      // A tap on the heat map removes the focus, but keeps its own unit.
      if (index !== null) this.#hovered = null;
      this.#activate();
    }

    #activate() {
      this.#light();
      this.#fire("attention-select", {...this.#active, words: this.#words});
    }

    #fire(name, detail) {
      this.#container.dispatchEvent(new CustomEvent(name, {detail, bubbles: true}));
    }

    /** Highlights the attention of the active unit in the lines, the text and the heat map. */
    #light() {
      if (!this.#parts.target) return;
      const active = this.#active;
      const {weights} = this.#data;
      const weightOf = {
        source: (index) => (active.target === null ? 0 : weights[active.target][index]),
        target: (index) =>
          active.source === null || active.target !== null ? 0 : weights[index][active.source],
      };
      for (const side of ["source", "target"]) {
        this.#parts[side].options.forEach((option, index) => {
          option.style.setProperty("--weight", weightOf[side](index).toFixed(3));
          option.setAttribute("aria-selected", String(active[side] === index));
        });
      }
      const side = active.target === null ? "source" : "target";
      this.#parts.detail.textContent =
        active[side] === null ? HINT : this.#nameOf(side, active[side], isolated);
      this.#parts.detail.translate = active[side] === null;
      this.#thread(active);
      this.#paint(active);
    }

    /** Threads from source to target: all while each side is one line, else the active ones. */
    #thread(active) {
      const {threads, lines, source, target} = this.#parts;
      const frame = lines.getBoundingClientRect();
      // A unit of both directions, such as "York." in Arabic, has several boxes: the widest one.
      const [froms, tos] = [source, target].map(({options}) =>
        options.map((option) =>
          [...option.getClientRects()].sort((a, b) => b.width - a.width)[0] ?? frame),
      );
      const oneLine = [froms, tos].every((boxes) => boxes.every((box) => box.top === boxes[0].top));
      const nothing = active.source === null && active.target === null;
      const paths = [];
      this.#data.weights.forEach((row, j) =>
        row.forEach((weight, i) => {
          const chosen = active.target === null ? active.source === i : active.target === j;
          if (weight < FAINTEST || !(chosen || (oneLine && nothing))) return;
          const x = [froms[i], tos[j]].map((box) => box.left + box.width / 2 - frame.left);
          const [top, bottom] = [froms[i].bottom - frame.top, tos[j].top - frame.top];
          const bend = `${x[0]} ${(top + bottom) / 2} ${x[1]} ${(top + bottom) / 2}`;
          const path = document.createElementNS(SVG, "path");
          path.setAttribute("d", `M${x[0]} ${top}C${bend} ${x[1]} ${bottom}`);
          path.setAttribute("stroke-opacity", (weight * (chosen ? 1 : 0.45)).toFixed(3));
          paths.push(path);
        }),
      );
      threads.replaceChildren(...paths);
    }

    get #active() {
      return this.#hovered ?? this.#focused ?? NONE;
    }

    get #directions() {
      const {source, target} = this.#parts;
      const [from, to] = [source, target].map(({line}) => getComputedStyle(line).direction);
      return {source: from, target: to};
    }

    #theme() {
      const style = getComputedStyle(this.#container);
      return Object.fromEntries(THEME.map((name) => [name, style.getPropertyValue(`--${name}`)]));
    }

    #resize() {
      const {box, canvas} = this.#parts;
      this.#width = this.#container.clientWidth;
      if (box) {
        this.#place = AttentionMap.layout(canvas.getContext("2d"), this.#data, box.clientWidth);
        canvas.style.width = `${this.#place.width}px`;
        canvas.style.height = `${this.#place.height}px`;
        // Scrollable areas must be reachable by keyboard.
        const scrolls = this.#place.width > box.clientWidth;
        const attributes = {tabindex: "0", role: "group", "aria-label": "Heat map, scrollable"};
        for (const [name, value] of Object.entries(attributes)) {
          if (scrolls) box.setAttribute(name, value);
          else box.removeAttribute(name);
        }
      }
      this.#light();
    }

    #paint(active) {
      const {canvas} = this.#parts;
      if (!canvas) return;
      const context = canvas.getContext("2d");
      const {width, height} = this.#place;
      const scale = AttentionMap.resolution(width, height, devicePixelRatio);
      canvas.width = Math.round(width * scale);
      canvas.height = Math.round(height * scale);
      context.setTransform(scale, 0, 0, scale, 0, 0);
      const look = {theme: this.#theme(), active, directions: this.#directions};
      AttentionMap.paint(context, this.#data, this.#place, look);
    }
  }

  return AttentionView;
})();
