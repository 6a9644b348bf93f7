"use strict";

/**
 * The computations of each decoder step, for a translation with `steps` and `annotations`:
 *
 *   energies e_ij, their softmax a_ij, the context c_i = sum_j a_ij h_j, and the best candidates
 *
 *   const view = new StepView(container, {sourceLanguage: "de", targetLanguage: "en"});
 *   view.show(translation);
 */
globalThis.StepView = (() => {
  const {element, textIn} = PageElements;
  // Custom properties for the colours of a vector's numbers.
  const [POSITIVE, NEGATIVE] = ["--accent", "--page-negative"];
  // The quantile of absolute values with full colour: with the maximum, most would be too pale.
  const SATURATED = 0.97;

  function percent(share) {
    if (share < 0.001) return "< 0.1 %";
    return `${(100 * share).toFixed(share < 0.0995 ? 1 : 0)} %`;
  }

  function bar(share, text) {
    const fill = element("span", {class: "step-fill"});
    fill.style.width = `${100 * Math.max(0, Math.min(share, 1))}%`;
    const track = element("span", {class: "step-track", "aria-hidden": "true"}, fill);
    const number = element("span", {class: "step-number"}, text);
    return element("span", {class: "step-bar"}, track, number);
  }

  function colour(container, name) {
    const context = document.createElement("canvas").getContext("2d");
    context.fillStyle = getComputedStyle(container).getPropertyValue(name);
    context.fillRect(0, 0, 1, 1);
    return context.getImageData(0, 0, 1, 1).data;
  }

  class StepView {
    static #made = 0;

    #container;
    #sourceLanguage;
    #id = `step-${(StepView.#made += 1)}`;
    #translation = null;
    // For all steps: the range of energies, and the number with full colour.
    #energies;
    #scale;
    #colours;
    #slider;
    #parts;
    #dark = matchMedia("(prefers-color-scheme: dark)");
    #redraw = () => this.#show();

    constructor(container, {sourceLanguage, targetLanguage}) {
      this.#container = container;
      this.#sourceLanguage = sourceLanguage;
      const titleId = `${this.#id}-title`;
      container.classList.add("step-view");
      this.#slider = element("input", {type: "range", min: "1", value: "1", id: this.#id});
      this.#slider.addEventListener("input", () => this.#show());
      this.#parts = {
        label: element("label", {class: "step-label", for: this.#id}),
        sentence: element("p", {class: "step-sentence", ...textIn(targetLanguage)}),
        // Scrollable areas must be reachable by keyboard.
        table: element("div", {
          class: "step-scroll",
          tabindex: "0",
          role: "group",
          "aria-label": "Numbers of the step",
        }),
        candidates: element("ol", {
          class: "step-candidates",
          lang: targetLanguage,
          translate: "no",
          "aria-labelledby": titleId,
        }),
      };
      const {label, sentence, table, candidates} = this.#parts;
      const title = element("p", {class: "step-title", id: titleId}, "Candidates of this step");
      container.append(label, this.#slider, sentence, table, title, candidates);
      this.#dark.addEventListener("change", this.#redraw);
    }

    destroy() {
      this.#dark.removeEventListener("change", this.#redraw);
      this.#container.replaceChildren();
    }

    /** Goes to a step, counted from 0. */
    select(index) {
      if (this.#slider.value === String(index + 1)) return;
      this.#slider.value = String(index + 1);
      this.#show();
    }

    show(translation) {
      this.#translation = translation;
      this.#slider.max = String(translation.steps.length);
      this.#energies = StepView.range(translation.steps.flatMap(({energies}) => energies));
      this.#scale = StepView.scale(translation.annotations);
      this.#show();
    }

    #show() {
      if (!this.#translation) return;
      const {target_tokens: targets, steps} = this.#translation;
      const index = Number(this.#slider.value) - 1;
      const [chosen] = AttentionText.tokenTexts([targets[index]]);
      const before = AttentionText.spelled(targets.slice(0, index));
      const {label, sentence, table, candidates} = this.#parts;
      this.#colours = [POSITIVE, NEGATIVE].map((name) => colour(this.#container, name));
      label.textContent = `Step ${index + 1} of ${steps.length}`;
      this.#slider.setAttribute("aria-valuetext", `${label.textContent}, writes ${chosen}`);
      // Apart from the sentence: in one from right to left, "</s>" would be mirrored.
      const written = element("strong", {}, element("bdi", {}, chosen));
      sentence.replaceChildren(before || "\u2026", " ", written);
      table.replaceChildren(this.#table(index));
      candidates.replaceChildren(...steps[index].candidates.map(({token, score}) => {
        const [text] = AttentionText.tokenTexts([token]);
        const probability = Math.exp(score);
        return element(
          "li", {}, element("span", {class: "step-token"}, element("bdi", {}, text)),
          bar(probability, percent(probability)));
      }));
    }

    #table(index) {
      const {source_tokens: sources, attention, steps, annotations} = this.#translation;
      const {energies} = steps[index];
      if (!energies.length) return this.#sentenceVector(annotations[0]);
      const [lowest, highest] = this.#energies;
      const weights = attention[index];
      const height = (energy) => (energy - lowest) / (highest - lowest || 1);
      const head = {scope: "row", lang: this.#sourceLanguage, translate: "no"};
      const rows = AttentionText.tokenTexts(sources).map((text, j) => element(
        "tr", {},
        element("th", head, element("bdi", {}, text)),
        element("td", {}, bar(height(energies[j]), energies[j].toFixed(2))),
        element("td", {}, bar(weights[j], percent(weights[j]))),
        element("td", {}, this.#strip(annotations[j])),
        element("td", {}, this.#strip(annotations[j], weights[j]))));
      const context = StepView.weightedSum(weights, annotations);
      const foot = element(
        "tr", {},
        element("th", {scope: "row", colspan: "4"}, "context c = \u03a3 a h"),
        element("td", {}, this.#strip(context)));
      const heads = ["source", "energy e", "softmax a", "annotation h", "a h"];
      return element(
        "table", {class: "step-table"},
        element("thead", {}, element(
          "tr", {}, ...heads.map((head) => element("th", {scope: "col"}, head)))),
        element("tbody", {}, ...rows), element("tfoot", {}, foot));
    }

    #sentenceVector(vector) {
      return element(
        "div", {class: "step-vector"},
        element("p", {}, "This model has no attention: the context of every step is one vector."),
        this.#strip(vector));
    }

    /**
     * A vector as a strip of colour: one hue above zero, another below. The canvas has a pixel for
     * each number, and the style sheet stretches it.
     */
    #strip(vector, weight = 1) {
      const canvas = element("canvas", {
        class: "step-strip", width: String(vector.length), height: "1", "aria-hidden": "true"});
      const context = canvas.getContext("2d");
      const image = context.createImageData(vector.length, 1);
      const [positive, negative] = this.#colours;
      vector.forEach((value, place) => {
        const hue = value < 0 ? negative : positive;
        const share = Math.min(Math.abs(value * weight) / (this.#scale || 1), 1);
        image.data.set([hue[0], hue[1], hue[2], Math.round(255 * share)], 4 * place);
      });
      context.putImageData(image, 0, 0);
      return canvas;
    }

    static range(numbers) {
      return numbers.reduce(
        ([lowest, highest], each) => [Math.min(lowest, each), Math.max(highest, each)],
        [Infinity, -Infinity]);
    }

    static scale(vectors) {
      const sizes = vectors.flat().map(Math.abs).sort((a, b) => a - b);
      return sizes[Math.floor(SATURATED * (sizes.length - 1))];
    }

    static weightedSum(weights, vectors) {
      return vectors[0].map((_, place) =>
        vectors.reduce((sum, vector, j) => sum + weights[j] * vector[place], 0));
    }
  }

  return StepView;
})();
