// Without this file every funnel is shown whole; with it, trial by trial. It is also in the file
// that needs no server, which holds many funnels and allows this script alone, by its hash.
"use strict";
(() => {
  const still = matchMedia("(prefers-reduced-motion: reduce)");
  const boxes = new WeakMap(); // of each funnel: how many trials are shown, and its clock

  const trials = box => Array.from(box.querySelectorAll(".trial"));

  function tell(box) {
    const { shown } = boxes.get(box);
    const out = trials(box).slice(0, shown).filter(trial => !trial.classList.contains("drawer"));
    const found = out.map(trial => Number(trial.dataset.reported)).sort((a, b) => a - b);
    const middle = found[Math.floor((found.length - 1) / 2)];
    const { scale, ratio } = box.querySelector("svg").dataset;
    box.querySelector(".count").textContent = `${shown} of ${trials(box).length} trials, ${out.length} published` +
      (out.length ? `; half of these find ${scale} up to ${ratio === "1" ? Math.exp(middle).toFixed(2) : middle.toFixed(3)}` : "");
  }

  function draw(box) {
    const { shown } = boxes.get(box);
    trials(box).forEach((trial, i) => trial.classList.toggle("unborn", i >= shown));
    tell(box);
  }

  function pause(box) {
    const own = boxes.get(box);
    clearInterval(own.timer);
    own.timer = 0;
    const partly = own.shown && own.shown < trials(box).length;
    box.querySelector("[data-do=play]").textContent = partly ? "Go on" : "Start";
  }

  function step(box) {
    const own = boxes.get(box), all = trials(box).length;
    own.shown = Math.min(own.shown + 1, all);
    draw(box);
    if (own.shown === all) pause(box);
  }

  function play(box) {
    const own = boxes.get(box);
    if (own.timer) return pause(box);
    if (own.shown === trials(box).length) own.shown = 0;
    box.querySelector("[data-do=play]").textContent = "Pause";
    draw(box);
    own.timer = setInterval(() => box.isConnected ? step(box) : clearInterval(own.timer), still.matches ? 1000 : 150);
  }

  function ready() {
    for (const box of document.querySelectorAll("[data-funnel]")) {
      if (boxes.has(box)) continue;
      boxes.set(box, { shown: trials(box).length, timer: 0 });
      box.querySelector(".controls").hidden = false;
    }
  }

  document.addEventListener("click", event => {
    const button = event.target.closest("[data-do]"), box = button && button.closest("[data-funnel]");
    if (!box) return;
    const own = boxes.get(box), what = button.dataset.do;
    if (what === "play") play(box);
    if (what === "step") { pause(box); if (own.shown === trials(box).length) own.shown = 0; step(box); }
    if (what === "reset") { own.shown = 0; pause(box); draw(box); }
  });
  document.addEventListener("change", event => {
    const box = event.target.closest("[data-funnel]");
    if (box && event.target.type === "radio") box.dataset.show = event.target.value;
  });

  // Guesses stay in this browser; where it keeps nothing, for as long as the page is open.
  function kept(name, value) {
    try {
      if (value !== undefined) sessionStorage.setItem(name, value);
      return sessionStorage.getItem(name);
    } catch { return null; }
  }

  function guesses() {
    for (const field of document.querySelectorAll("[data-guess]")) {
      const before = kept(`guess-${field.dataset.guess}`);
      if (before && !field.value) field.value = before;
      const beside = document.querySelector(`[data-guessed="${field.dataset.guess}"]`);
      if (beside) beside.textContent = field.value || "-";
    }
  }
  document.addEventListener("input", event => {
    if (!event.target.dataset.guess) return;
    kept(`guess-${event.target.dataset.guess}`, event.target.value);
    guesses();
  });
  document.addEventListener("answered", guesses);
  guesses();
  document.addEventListener("answered", ready);
  ready();
})();
