// What all tabs share: keys, and a word when the app no longer answers.
window.attune = window.attune || {};
(() => {
  const ASK_EVERY_MS = 4000, MISSES = 2, DENSITY = 2, NAME_EVERY_MS = 1500;
  let missed = 0;

  async function ask() {
    let answers = false;
    try { answers = (await fetch("healthz", { cache: "no-store" })).ok; } catch { answers = false; }
    missed = answers ? 0 : missed + 1;
    const banner = document.getElementById("gone") || document.body.appendChild(Object.assign(document.createElement("div"), { id: "gone" }));
    if (banner.getAttribute("role") !== "alert") banner.setAttribute("role", "alert");
    const words = missed >= MISSES ? "Attune does not answer any more. Start it again, then reload this page; what was saved is safe." : "";
    if (banner.textContent !== words) banner.textContent = words;
    banner.hidden = !words;
  }
  setInterval(() => { if (!document.hidden) ask(); }, ASK_EVERY_MS);

  window.attune.save = (id) => setTimeout(() => document.getElementById(id)?.click(), 150);  // once the page has the file

  // a plotly figure as one file, SVG or PNG: it is drawn in layers
  window.attune.picture = (id, name) => {
    const layers = [...document.querySelectorAll(`#${id} .main-svg`)];
    if (!layers.length) return;
    const { width, height } = layers[0].getBoundingClientRect();
    const inside = layers.map((layer) => new XMLSerializer().serializeToString(layer)).join("")
      .replace(/url\((&quot;|["']?)https?:[^#)]*#/g, "url($1#");  // what is hatched stays so away from this page
    const whole = `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}">${inside}</svg>`;
    const drawn = new Blob([whole], { type: "image/svg+xml" });
    if (name.endsWith(".svg")) return keep(drawn, name);
    const picture = new Image();
    picture.onload = () => {
      const canvas = Object.assign(document.createElement("canvas"), { width: width * DENSITY, height: height * DENSITY });
      const paper = canvas.getContext("2d");
      paper.scale(DENSITY, DENSITY);
      paper.drawImage(picture, 0, 0, width, height);
      canvas.toBlob((blob) => keep(blob, name), "image/png");
      URL.revokeObjectURL(picture.src);
    };
    picture.src = URL.createObjectURL(drawn);
  };

  function keep(blob, name) {
    const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(blob), download: name });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  }

  // a click on a speaker of the figure chooses the speaker
  document.addEventListener("pointerover", (event) => {
    const drawn = event.target.closest?.("#fairness-figure-speakers .js-plotly-plot, #fairness-figure-change .js-plotly-plot");
    if (!drawn?.on || drawn.attuned) return;
    drawn.attuned = true;
    drawn.on("plotly_click", ({ points }) => {
      window.attune.clicked = points[0]?.customdata?.[0];
      if (!window.attune.clicked) return;
      document.getElementById("fairness-clicked")?.click();
      [...document.querySelectorAll("#fairness-views button[role=tab]")].find((tab) => tab.textContent.trim() === "One speaker")?.click();
    });
  });

  // a figure is one picture to a screen reader, called as its heading; its numbers stand below it
  setInterval(() => {
    for (const drawn of document.querySelectorAll(":is(#fairness-views, #train-views) .figure .js-plotly-plot:not([role])")) {
      const headings = [...document.querySelectorAll("h1, h2, h3")].filter(
        (one) => one.compareDocumentPosition(drawn) & Node.DOCUMENT_POSITION_FOLLOWING);
      drawn.setAttribute("role", "figure");
      drawn.setAttribute("aria-label", `Figure: ${headings.at(-1)?.textContent.trim() || "chart"}`);
    }
  }, NAME_EVERY_MS);

  const visible = (element) => element && element.offsetParent !== null;

  // Alt+R records and stops; the tab Enrol looks after itself
  document.addEventListener("keydown", (event) => {
    if (!event.altKey || event.ctrlKey || event.metaKey || event.code !== "KeyR") return;
    const recorder = document.getElementById("compare-audio");
    const buttons = [
      ...["live-stop", "live-start"].map((id) => document.getElementById(id)),
      recorder?.querySelector(".stop-button"), recorder?.querySelector(".record-button"),
    ];
    const button = buttons.find(visible);
    if (!button) return;
    event.preventDefault();
    button.click();
  });
})();
