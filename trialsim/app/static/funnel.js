// Without this file the whole funnel is shown; with it, trial by trial.
"use strict";
(() => {
  let timer = 0, shown = 0;
  const still = matchMedia("(prefers-reduced-motion: reduce)");
  const box = () => document.querySelector("[data-funnel]");
  const all = () => Array.from(box().querySelectorAll(".trial"));

  function tell() {
    const trials = all().slice(0, shown);
    const out = trials.filter(trial => !trial.classList.contains("drawer"));
    const found = out.map(trial => Number(trial.dataset.reported)).sort((a, b) => a - b);
    const middle = found[Math.floor((found.length - 1) / 2)];
    const { scale, ratio } = box().querySelector("svg").dataset;
    box().querySelector(".count").textContent = `${shown} of ${all().length} trials, ${out.length} published` +
      (out.length ? `; half of these find ${scale} up to ${ratio === "1" ? Math.exp(middle).toFixed(2) : middle.toFixed(3)}` : "");
  }

  function draw() {
    all().forEach((trial, i) => trial.classList.toggle("unborn", i >= shown));
    tell();
  }

  function pause() {
    clearInterval(timer);
    timer = 0;
    const button = box() && box().querySelector("[data-do=play]");
    if (button) button.textContent = shown && shown < all().length ? "Go on" : "Start";
  }

  function step() {
    shown = Math.min(shown + 1, all().length);
    draw();
    if (shown === all().length) pause();
  }

  function play() {
    if (timer) return pause();
    if (shown === all().length) shown = 0;
    box().querySelector("[data-do=play]").textContent = "Pause";
    draw();
    timer = setInterval(() => box() ? step() : clearInterval(timer), still.matches ? 1000 : 150);
  }

  function ready() {
    clearInterval(timer);
    timer = 0;
    if (!box()) return;
    shown = all().length;
    box().querySelector(".controls").hidden = false;
  }

  document.addEventListener("click", event => {
    const button = event.target.closest("[data-do]");
    if (!button || !box()) return;
    const what = button.dataset.do;
    if (what === "play") play();
    if (what === "step") { pause(); if (shown === all().length) shown = 0; step(); }
    if (what === "reset") { shown = 0; pause(); draw(); }
  });
  document.addEventListener("change", event => {
    if (event.target.name === "show" && box()) box().dataset.show = event.target.value;
  });
  // Guesses stay in this browser.
  function guesses() {
    for (const field of document.querySelectorAll("[data-guess]")) {
      const kept = sessionStorage.getItem(`guess-${field.dataset.guess}`);
      if (kept && !field.value) field.value = kept;
      const beside = document.querySelector(`[data-guessed="${field.dataset.guess}"]`);
      if (beside) beside.textContent = field.value || "-";
    }
  }
  document.addEventListener("input", event => {
    if (!event.target.dataset.guess) return;
    sessionStorage.setItem(`guess-${event.target.dataset.guess}`, event.target.value);
    guesses();
  });
  document.addEventListener("answered", guesses);
  guesses();
  document.addEventListener("answered", ready);
  ready();
})();
