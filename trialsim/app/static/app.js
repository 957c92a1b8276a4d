// Everything works without this file; with it, answers follow the sliders.
"use strict";
(() => {
  const named = Array.from(crypto.getRandomValues(new Uint8Array(8)), b => b.toString(16).padStart(2, "0")).join("");
  const tab = sessionStorage.getItem("tab") || named; // the same after a reload: it waits once
  sessionStorage.setItem("tab", tab);
  const form = document.querySelector("form[data-live]");
  const answer = document.getElementById("answer");
  const gone = document.getElementById("gone");
  let asked = null, timer = 0, watch = 0, left = false;

  async function fetched(address, options = {}) {
    try {
      const reply = await fetch(address, { ...options, headers: { "x-tab": tab } });
      gone.hidden = true;
      return reply;
    } catch (error) {
      if (error.name !== "AbortError") gone.hidden = false;
      return null;
    }
  }

  function address() {
    const query = new URLSearchParams();
    for (const [name, value] of new FormData(form)) if (typeof value === "string") query.append(name, value);
    return query;
  }

  async function ask(query, quick = false) {
    if (asked) asked.abort();
    asked = new AbortController();
    clearTimeout(watch);
    answer.setAttribute("aria-busy", "true");
    const given = new URLSearchParams(query);
    given.set("part", "answer");
    if (quick) given.set("quick", "1");
    const reply = await fetched(`${form.getAttribute("action")}?${given}`, { signal: asked.signal });
    if (!reply) return;
    const text = await reply.text().catch(() => null);
    if (text === null) return;
    const own = reply.headers.get("x-address");
    if (own) history.replaceState(null, "", own);
    show(text);
  }

  function show(text) {
    answer.innerHTML = text;
    const job = answer.querySelector("[data-job]");
    answer.setAttribute("aria-busy", job ? "true" : "false");
    const told = answer.querySelector(".headline, .problems h2, .job h2");
    const more = answer.querySelector("[data-partly], [data-then]");  // what follows is said
    if (!more) document.getElementById("said").textContent = told ? told.textContent.trim() : "";
    if (answer.querySelector("[data-then]")) timer = setTimeout(() => ask(new URLSearchParams(location.search)), 400);
    for (const rest of answer.querySelectorAll("[data-rest]")) {
      const slider = document.querySelector(`[data-slides="${rest.dataset.rest}"]`);
      if (slider && !document.getElementById(rest.dataset.rest).value) slider.value = rest.dataset.value;
    }
    document.dispatchEvent(new CustomEvent("answered"));
    follow();
  }

  function follow() {
    clearTimeout(watch);
    if (left) return;
    const job = answer && answer.querySelector("[data-job]");
    if (!job) return;
    watch = setTimeout(async () => {
      if (left) return;
      const reply = await fetched(`/jobs/${job.dataset.job}`);
      if (!reply) return;
      const told = await reply.json();
      const bar = job.querySelector("progress");
      if (bar && told.share_done > 0) bar.value = told.share_done;
      const part = "partly" in job.dataset && told.left < job.dataset.job.split(",").length;
      if (told.over || part) ask(new URLSearchParams(location.search)); else follow();
    }, 200);
  }

  if (form && answer) {
    form.addEventListener("submit", event => { event.preventDefault(); clearTimeout(timer); ask(address()); });
    form.addEventListener("input", event => {
      if (event.target.dataset.guess) return;
      const slides = event.target.dataset.slides;
      if (slides) document.getElementById(slides).value = event.target.value;
      const slider = form.querySelector(`[data-slides="${event.target.id}"]`);
      if (slider) slider.value = event.target.value;
      clearTimeout(timer);
      if (event.target.name === "template") { location.assign(`${form.getAttribute("action")}?template=${encodeURIComponent(event.target.value)}${document.documentElement.classList.contains("big") ? "&big=1" : ""}`); return; }
      timer = setTimeout(() => ask(address(), "quick" in form.dataset), event.target.type === "text" ? 400 : 60);
    });
    follow();
  }

  addEventListener("pageshow", event => { if (event.persisted) { left = false; follow(); } });
  document.addEventListener("submit", event => {
    if (!event.target.matches("form[data-cancel]")) return;
    const own = document.createElement("input");
    Object.assign(own, { type: "hidden", name: "tab", value: tab });
    event.target.append(own);
    left = true;
  });

  document.addEventListener("click", async event => {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    const from = document.getElementById(button.dataset.copy);
    const before = button.dataset.label || button.textContent;
    button.dataset.label = before;
    try {
      await navigator.clipboard.writeText(from.textContent.trim());
      button.textContent = "Copied";
    } catch {
      const range = document.createRange();
      range.selectNodeContents(from);
      getSelection().removeAllRanges();
      getSelection().addRange(range);
      button.textContent = "Press Ctrl-C";
    }
    setTimeout(() => { button.textContent = before; }, 1500);
  });
})();
