"use strict";

/** A bar chart of BLEU by source length. */
globalThis.ReportChart = (() => {
  const SVG = "http://www.w3.org/2000/svg";
  const [BAR, GAP, HEIGHT, TOP, BOTTOM, LEFT] = [44, 10, 120, 20, 52, 8];
  // Width of the caption below the bars, in pixels.
  const AXIS = 130;

  function shape(name, attributes, text) {
    const made = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (text !== undefined) made.textContent = text;
    return made;
  }

  /** `bins`: `{words, sentences, bleu}` in order of length; `words` is the upper bound. */
  function chart(bins) {
    const width = LEFT + Math.max(AXIS, bins.length * (BAR + GAP));
    const highest = Math.max(10, ...bins.map(({bleu}) => bleu));
    const label = bins.map(({words, bleu}) => `up to ${words} words ${bleu.toFixed(1)}`).join(", ");
    const svg = shape("svg", {
      class: "report-chart",
      role: "img",
      "aria-label": `BLEU by source length: ${label}`,
      viewBox: `0 0 ${width} ${TOP + HEIGHT + BOTTOM}`,
      width,
      height: TOP + HEIGHT + BOTTOM,
    });
    const base = TOP + HEIGHT;
    bins.forEach(({words, sentences, bleu}, index) => {
      const x = LEFT + index * (BAR + GAP);
      const height = (HEIGHT * bleu) / highest;
      const text = (y, content, kind) =>
        shape("text", {x: x + BAR / 2, y, class: kind, "text-anchor": "middle"}, content);
      const first = index ? bins[index - 1].words + 1 : 1;
      svg.append(
        shape("rect", {x, y: base - height, width: BAR, height, rx: 2}),
        text(base - height - 5, bleu.toFixed(1), "report-value"),
        text(base + 16, `${first}\u2013${words}`, "report-label"),
        text(base + 31, `n ${sentences}`, "report-count"),
      );
    });
    const axis = "words in the source";
    svg.append(shape("text", {x: LEFT, y: base + 48, class: "report-count"}, axis));
    return svg;
  }

  return {chart};
})();
