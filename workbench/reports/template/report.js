"use strict";
// Draws the charts of the page in the colours of the reader's light or dark scheme, and in light ones on paper.
(() => {
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const shared = read("charts");
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const charts = [...document.querySelectorAll("figure.chart")].map((figure) => ({
    place: figure.querySelector(".plot"),
    content: read(figure.querySelector("script").id),
  }));
  // 180 mm of paper at 96 pixels an inch: A4 and Letter less their margins.
  const PAPER = 680;

  const draw = (paper) => {
    const template = shared.templates[dark.matches && !paper ? "dark" : "light"];
    for (const { place, content } of charts) {
      const layout = { ...content.layout, template };
      if (paper) {
        layout.width = PAPER;
        layout.autosize = false;
      }
      Plotly.react(place, content.data, layout, { ...shared.config, responsive: !paper });
    }
  };

  draw(false);
  dark.addEventListener("change", () => draw(false));
  window.addEventListener("beforeprint", () => draw(true));
  window.addEventListener("afterprint", () => draw(false));
})();
