"use strict";

/** A map of sentences: one that is pointed at or selected is shown with its neighbours. */
(() => {
  const {element, pageData, textIn} = PageElements;
  const SVG = "http://www.w3.org/2000/svg";
  const [SIDE, MARGIN, RADIUS] = [600, 14, 4.5];
  // Maximum number of sentences in the list.
  const LISTED = 60;
  const {title, language, projections, texts, neighbours, groups} = pageData();
  const [ofPage, ofSentences] = [{lang: "en", dir: "ltr", translate: "yes"}, textIn(language)];
  const names = Object.keys(projections);
  const lower = texts.map((text) => text.toLowerCase());
  let points = [];
  let selected = null;

  function shape(name, attributes) {
    const made = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    return made;
  }

  const links = shape("g", {class: "map-links"});
  const circles = texts.map((_, index) =>
    shape("circle", {r: RADIUS, class: `map-point map-group-${groups[index] % 8}`}),
  );
  const svg = shape("svg", {
    class: "map",
    viewBox: `0 0 ${SIDE} ${SIDE}`,
    role: "img",
    "aria-label": `Map of ${texts.length} sentences. The list has each with its neighbours.`,
  });
  svg.append(links, ...circles);

  const sentence = element("p", {class: "map-sentence"});
  const nearest = element("ol", {class: "map-nearest"});
  const matches = element("ul", {class: "map-matches"});
  const count = element("p", {class: "map-small", role: "status"});

  function place(projection) {
    points = projections[projection].map(([x, y]) => [
      MARGIN + x * (SIDE - 2 * MARGIN),
      MARGIN + y * (SIDE - 2 * MARGIN),
    ]);
    circles.forEach((circle, index) => {
      circle.setAttribute("cx", points[index][0]);
      circle.setAttribute("cy", points[index][1]);
    });
    select(selected);
  }

  function select(index) {
    if (selected !== null) circles[selected].classList.remove("map-selected");
    selected = index;
    const near = index === null ? [] : neighbours[index];
    sentence.textContent = index === null ? "Point at a sentence." : texts[index];
    const attributes = index === null ? ofPage : ofSentences;
    for (const [name, value] of Object.entries(attributes)) sentence.setAttribute(name, value);
    nearest.replaceChildren(...near.map((each) => element("li", {}, choice(each))));
    links.replaceChildren(
      ...near.map((each) => {
        const [[x1, y1], [x2, y2]] = [points[index], points[each]];
        return shape("line", {x1, y1, x2, y2});
      }),
    );
    if (index !== null) circles[index].classList.add("map-selected");
  }

  /** A sentence as a button that selects it. */
  function choice(index) {
    const button = element("button", {type: "button", ...ofSentences}, texts[index]);
    button.addEventListener("click", () => {
      select(index);
      sentence.focus();
    });
    return button;
  }

  function search(words) {
    const found = [...texts.keys()].filter((index) => lower[index].includes(words.toLowerCase()));
    const all = new Set(found);
    circles.forEach((circle, index) => circle.classList.toggle("map-faint", !all.has(index)));
    const listed = found.slice(0, LISTED);
    matches.replaceChildren(...listed.map((each) => element("li", {}, choice(each))));
    count.textContent = `${found.length} of ${texts.length} sentences`;
  }

  /** The nearest point within a finger's reach of a place on the map. */
  function pointAt({clientX, clientY}) {
    const box = svg.getBoundingClientRect();
    const [x, y] = [clientX - box.left, clientY - box.top].map((each) => (each * SIDE) / box.width);
    const distance = ([a, b]) => Math.hypot(a - x, b - y);
    let best = null;
    points.forEach((point, index) => {
      if (best === null || distance(point) < distance(points[best])) best = index;
    });
    return distance(points[best]) < 24 ? best : null;
  }

  for (const name of ["pointermove", "pointerdown"]) {
    svg.addEventListener(name, (event) => {
      const index = pointAt(event);
      if (index !== null && index !== selected) select(index);
    });
  }

  function projectionChoice() {
    const control = element("select", {}, ...names.map((name) => new Option(name)));
    control.addEventListener("change", () => place(control.value));
    return element("label", {class: "map-field"}, element("span", {}, "Projection"), control);
  }

  const input = element("input", {type: "search", placeholder: "word or phrase"});
  input.addEventListener("input", () => search(input.value));
  sentence.tabIndex = -1;
  const panel = element(
    "div",
    {class: "map-panel"},
    sentence,
    element("h2", {}, "Nearest sentences"),
    nearest,
    names.length > 1 ? projectionChoice() : "",
    element("label", {class: "map-field"}, element("span", {}, "Search"), input),
    count,
    matches,
  );
  const note = `${names.join(", ")} of ${texts.length} sentence vectors; neighbours by cosine.`;
  document
    .getElementById("page")
    .append(
      element("h1", {}, title),
      element("p", {class: "map-small"}, note),
      element("div", {class: "map-layout"}, svg, panel),
    );
  place(names[0]);
  search("");
})();
