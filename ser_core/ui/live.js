// Live listening: the microphone's samples go to the app piece by piece, what comes back is shown.
// Nothing is lost while the app is busy: samples wait here, and the next piece is the larger.
window.attune = window.attune || {};
(() => {
  const PIECE_S = 0.2, TIRES_AFTER_S = 15, ANNOUNCE_EVERY_MS = 3000;
  const TAP = `registerProcessor("tap", class extends AudioWorkletProcessor {
    process([input]) { if (input[0]) this.port.postMessage(input[0].slice()); return true; }
  });`;
  let session = null;

  const byId = (id) => document.getElementById(id);
  const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

  let microphone = null;  // a stream, or why there is none: asked for first, for a person may take long to allow it

  async function prepare(all) {
    if (!microphone && !session) {
      microphone = navigator.mediaDevices ? navigator.mediaDevices.getUserMedia({ audio: true }) : Promise.reject({ name: "Insecure" });
      await microphone.catch(() => {});
    }
    return all;
  }

  async function listen(token) {
    if (!token || session) return token;
    let stream = null;
    try {
      stream = await microphone;
      microphone = null;
      const context = new AudioContext();
      const url = URL.createObjectURL(new Blob([TAP], { type: "text/javascript" }));
      await context.audioWorklet.addModule(url);
      URL.revokeObjectURL(url);
      const tap = new AudioWorkletNode(context, "tap", { numberOfInputs: 1, numberOfOutputs: 0, channelCount: 1, channelCountMode: "explicit" });
      const live = { token, stream, context, waiting: [], n_waiting: 0, piece: 0, ends: false, announced: 0, said: "" };
      session = live;
      window.attune.live.began = performance.now();
      tap.port.onmessage = (event) => take(live, event.data);
      context.createMediaStreamSource(stream).connect(tap);
      stream.getTracks()[0].addEventListener("ended", () => byId("live-stop")?.click());
      live.sending = send(live);
      return token;
    } catch (error) {
      microphone = session = null;
      stream?.getTracks().forEach((track) => track.stop());
      window.attune.microphoneTrouble?.(error);
      return "!" + token;
    }
  }

  function take(live, block) {
    if (live.ends) return;
    live.waiting.push(block);
    live.n_waiting += block.length;
    let power = 0;
    for (const sample of block) power += sample * sample;
    live.level = Math.max(power / block.length, (live.level || 0) * 0.97);
    const meter = byId("live-level");
    if (meter) meter.value = Math.max(-60, 10 * Math.log10(live.level + 1e-9));
  }

  function gather(live) {
    const piece = new Int16Array(live.n_waiting);
    let at = 0;
    for (const block of live.waiting)
      for (const sample of block) piece[at++] = Math.max(-32768, Math.min(32767, Math.round(sample * 32768)));
    live.waiting = [];
    live.n_waiting = 0;
    return piece;
  }

  async function send(live) {
    while (true) {
      const enough = live.n_waiting >= PIECE_S * live.context.sampleRate;
      if (!enough && !live.ends) { await sleep(20); continue; }
      if (!live.n_waiting) return;
      if (!(await deliver(live, gather(live)))) return;
    }
  }

  async function deliver(live, samples) {
    const where = `live/${live.token}?piece=${live.piece++}&rate_hz=${Math.round(live.context.sampleRate)}`;
    for (let tried_s = 0; tried_s < TIRES_AFTER_S; tried_s += 1) {
      try {
        const answer = await fetch(where, { method: "POST", body: samples, headers: { "Content-Type": "application/octet-stream" } });
        const shown = await answer.json();
        if (!answer.ok) { show({ problem: shown.problem || "Attune does not answer." }); give_up(live); return false; }
        show(shown);
        announce(live, shown);
        if (shown.full) byId("live-stop")?.click();
        return true;
      } catch { await sleep(1000); }  // the app may be busy, or gone: page.js says so
    }
    give_up(live);
    return false;
  }

  function show(shown) {
    const answers = byId("live-answers"), timeline = byId("live-timeline");
    if (shown.answers && answers) answers.innerHTML = shown.answers;
    if (shown.timeline && timeline) {
      timeline.innerHTML = shown.timeline;
      const part = Math.min(1, shown.end_s / 60);  // where it scrolls (narrow pages), what is newest stays in sight
      timeline.scrollLeft = part * timeline.scrollWidth - 0.7 * timeline.clientWidth;
    }
    if (shown.problem && byId("live-said")) byId("live-said").textContent = shown.problem;
    if (shown.end_s) window.attune.live.shown = { end_s: shown.end_s, at: performance.now(), milliseconds: shown.milliseconds };
    if (shown.end_s) window.dispatchEvent(new CustomEvent("attune-live", { detail: window.attune.live.shown }));
  }

  function announce(live, shown) {  // not with each answer: a screen reader would never be silent
    const now = performance.now();
    if (!shown.said || shown.said === live.said || now - live.announced < ANNOUNCE_EVERY_MS) return;
    live.said = shown.said;
    live.announced = now;
    byId("live-said").textContent = shown.said;
  }

  function give_up(live) {
    hang_up(live);
    setTimeout(() => byId("live-stop")?.click(), 0);
  }

  function hang_up(live) {
    live.ends = true;
    live.stream.getTracks().forEach((track) => track.stop());
    if (live.context.state !== "closed") live.context.close();
    const meter = byId("live-level");
    if (meter) meter.value = -60;
  }

  async function stop(token) {
    const live = session;
    session = null;
    if (live) {
      hang_up(live);
      await live.sending;
    }
    return token;
  }

  window.attune.live = { prepare, listen, stop };
})();
