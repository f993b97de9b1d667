// Guided recording: counts down, records, stops when the voice has stopped; and what to do about a microphone's troubles.
window.attune = window.attune || {};
(() => {
  const COUNT_S = 3, LONGEST_MS = 8000, PAUSE_MS = 1200, SPOKE_ABOVE = 0.01, READ_MS = 1200;
  let turn = 0;  // each countdown has its number; a later one, or halt(), ends those before
  let idle = true;  // nothing goes on by itself
  let drops = false;  // what is being recorded is not wanted

  const byId = (id) => document.getElementById(id);
  const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
  const visible = (element) => element && element.offsetParent !== null;
  const inside = (id, selector) => byId(id)?.querySelector(selector);
  const count = (words) => { const place = byId("guided-count"); if (place) place.textContent = words; };

  async function appears(find, patience_ms = 10000) {
    for (let waited = 0; waited < patience_ms; waited += 50) {
      const found = find();
      if (visible(found)) return found;
      await sleep(50);
    }
    return null;
  }

  async function go() {
    const mine = ++turn;
    const now = await appears(() => byId("guided-now"));
    if (!now || mine !== turn) { count(""); return; }
    const here = now.dataset.source === "computer";
    if (!here && !(await may_record())) return;
    byId("guided")?.scrollIntoView({ block: "nearest", behavior: "smooth" });
    for (let left = COUNT_S; left > 0; left -= 1) {
      if (mine !== turn) return;
      count(`${left}`);
      await sleep(700);
    }
    if (mine !== turn) return;
    if (here) { count("Speak now"); byId("guided-here")?.click(); return; }
    const record = await appears(() => inside("guided-audio", ".record-button"));
    if (!record || mine !== turn) return;
    record.click();
    count("Speak now");
    await until_silent(mine);
    if (mine === turn) stop();
  }

  function begin() { idle = false; return go(); }
  function on(goes_on) { if (goes_on && !idle) go(); }

  async function may_record() {
    try {
      (await navigator.mediaDevices.getUserMedia({ audio: true })).getTracks().forEach((track) => track.stop());
      return true;
    } catch { count(""); return false; }  // the wrapper below has said why
  }

  async function until_silent(mine) {
    const stream = await navigator.mediaDevices.getUserMedia({ audio: true });
    const context = new AudioContext();
    try {
      const analyser = context.createAnalyser();
      context.createMediaStreamSource(stream).connect(analyser);
      const samples = new Float32Array(analyser.fftSize);
      const began = performance.now();
      let spoke_at = 0;
      while (mine === turn && performance.now() - began < LONGEST_MS) {
        await sleep(50);
        analyser.getFloatTimeDomainData(samples);
        const level = Math.sqrt(samples.reduce((sum, x) => sum + x * x, 0) / samples.length);
        if (level > SPOKE_ABOVE) spoke_at = performance.now();
        if (spoke_at && performance.now() - spoke_at > PAUSE_MS) return;
      }
    } finally {
      stream.getTracks().forEach((track) => track.stop());
      context.close();
    }
  }

  function stop() {
    turn += 1;
    count("");
    const button = inside("guided-audio", ".stop-button");
    if (visible(button)) button.click();
    return visible(button);
  }

  function halt() {  // nothing goes on; what is being recorded is thrown away
    idle = true;
    drops = true;
    if (!stop()) drops = false;
    return [];
  }

  function taken(all) {  // the last one says whether this recording was broken off
    all[all.length - 1] = drops ? "yes" : "";
    drops = false;
    return all;
  }

  function pause() {
    halt();
    count("Paused. Repeat goes on.");
  }

  async function breathe(all) {  // time to read what became of the recording
    const mine = turn;
    if (all[0]) await sleep(READ_MS);
    if (mine !== turn || idle) all[0] = "";
    return all;
  }

  window.attune.guided = { begin, on, stop, halt, pause, breathe, taken };

  // Alt+R: in the guided panel the recording now; else where one is (a card, free speech), or the first that is missing
  document.addEventListener("keydown", (event) => {
    if (!event.altKey || event.ctrlKey || event.metaKey || event.code !== "KeyR") return;
    if (visible(byId("guided"))) {
      event.preventDefault();
      if (visible(inside("guided-audio", ".stop-button"))) stop(); else byId("guided-repeat")?.click();
      return;
    }
    const cards = [...document.querySelectorAll(".cards > .card, #enrol-talk")].filter(visible);
    if (!cards.length) return;
    event.preventDefault();
    const running = cards.map((card) => card.querySelector(".stop-button")).find(visible);
    const focused = document.activeElement?.closest(".cards > .card, #enrol-talk");
    const ready = (card) => card?.querySelector(".record-button");
    (running || [focused, ...cards].map(ready).find(visible))?.click();
  });

  // why a microphone cannot be used, and what helps
  const REMEDIES = {
    NotAllowedError: "This page may not use the microphone. Click the sign to the left of the address, allow the microphone, and reload the page.",
    NotFoundError: "No microphone was found. Plug one in and reload the page; or choose a file, or try the example voice.",
    NotReadableError: "The microphone is in use by another program, or switched off. Close that program, and try again.",
    Ended: "The microphone stopped: it was unplugged, or may no longer be used. What was heard until then is kept. Plug it in, or choose a file, and go on.",
    Insecure: "The browser lets pages use the microphone only at a secure address. Open Attune at http://127.0.0.1 or http://localhost.",
  };

  function microphoneTrouble(error) {
    const place = byId("microphone-help");
    if (!place) return;
    const name = { SecurityError: "NotAllowedError", DevicesNotFoundError: "NotFoundError", OverconstrainedError: "NotFoundError", AbortError: "NotReadableError" }[error?.name] || error?.name;
    place.textContent = REMEDIES[name] || `The microphone could not be used (${error?.name || "unknown"}). Reload the page and try again; or choose a file.`;
    place.hidden = false;
    place.scrollIntoView({ block: "nearest" });
  }
  window.attune.microphoneTrouble = microphoneTrouble;

  if (navigator.mediaDevices?.getUserMedia) {
    const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
    navigator.mediaDevices.getUserMedia = async (wanted) => {
      try {
        const stream = await ask(wanted);
        const place = byId("microphone-help");
        if (place) place.hidden = true;
        for (const track of stream.getTracks())  // not told of where the page itself stops it
          track.addEventListener("ended", () => microphoneTrouble({ name: "Ended" }));
        return stream;
      } catch (error) { microphoneTrouble(error); throw error; }
    };
  } else {
    document.addEventListener("click", (event) => {
      if (event.target.closest?.(".record-button, #live-start, #guided-start")) microphoneTrouble({ name: "Insecure" });
    }, true);
  }
})();
