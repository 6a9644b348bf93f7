"use strict";

/** A page of translations: a list of several, and the view of the chosen one. */
(() => {
  const {decimal, element, pageData, textIn} = PageElements;
  const data = pageData();
  const {translations} = data;
  const container = element("div");
  const view = new AttentionView(container, {
    sourceLanguage: data.source_language,
    targetLanguage: data.target_language,
  });

  /** A list of the sources, or for an n-best list of the translations. */
  function chooser() {
    const sameSource = translations.every(({source}) => source === translations[0].source);
    const own = textIn(sameSource ? data.target_language : data.source_language);
    const items = translations.map((translation, index) => {
      const radio = element("input", {type: "radio", name: "translation"});
      radio.checked = index === 0;
      radio.addEventListener("change", () => view.show(translation));
      const text = sameSource ? translation.translation : translation.source;
      const score = element("span", {class: "page-score"}, decimal(translation.score, 2));
      return element("label", {}, radio, element("span", own, text), score);
    });
    const legend = sameSource ? `${translations.length} best translations` : "Sentences";
    return element("fieldset", {class: "page-choice"}, element("legend", {}, legend), ...items);
  }

  const page = document.getElementById("page");
  page.append(element("h1", {}, data.title));
  if (translations.length > 1) page.append(chooser());
  page.append(container);
  view.show(translations[0]);
})();
