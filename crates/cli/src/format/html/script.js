"use strict";
(() => {
  const query = document.getElementById("query");
  if (!query) return;
  const alerts = [...document.querySelectorAll("details.alert")];
  const boxes = [...document.querySelectorAll(".severities input")];
  const count = document.getElementById("count");
  const nothing = document.querySelector(".nothing");
  const texts = new Map();
  const textOf = (alert) => {
    let text = texts.get(alert);
    if (text === undefined) {
      text = alert.textContent.toLowerCase();
      texts.set(alert, text);
    }
    return text;
  };
  const filter = () => {
    const words = query.value.toLowerCase().split(/\s+/).filter(Boolean);
    const severities = new Set(boxes.filter((box) => box.checked).map((box) => box.value));
    let shown = 0;
    for (const alert of alerts) {
      const fits = severities.has(alert.dataset.severity)
        && (words.length === 0 || words.every((word) => textOf(alert).includes(word)));
      alert.hidden = !fits;
      shown += fits ? 1 : 0;
    }
    count.textContent = shown === alerts.length ? `${shown} alerts` : `${shown} of ${alerts.length} alerts`;
    nothing.hidden = shown > 0;
  };
  let timer;
  query.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(filter, 120);
  });
  boxes.forEach((box) => box.addEventListener("change", filter));
  const setOpen = (open) => alerts.forEach((alert) => {
    if (!alert.hidden) alert.open = open;
  });
  document.getElementById("open").addEventListener("click", () => setOpen(true));
  document.getElementById("close").addEventListener("click", () => setOpen(false));
  document.addEventListener("click", (event) => {
    const pick = event.target.closest("button.pick");
    if (!pick) return;
    query.value = pick.dataset.query;
    filter();
    document.getElementById("alerts").scrollIntoView();
  });
  addEventListener("beforeprint", () => setOpen(true));
  filter();
})();
