"use strict";
(() => {
  const tip = document.getElementById("tip");
  let shown, height; // the part that the tip is about, and where it stood

  // What is under the pointer, the finger or the focus.
  const pointed = (event) => event.target.closest && event.target.closest("[data-tip], [data-widths]");

  const textOf = (part, event) => {
    if (part.dataset.tip) return part.dataset.tip;
    const widths = part.dataset.widths, box = part.getBoundingClientRect();
    const at = event.clientX === undefined ? 0 : (event.clientX - box.left) / box.width;
    const i = Math.min(widths.length - 1, Math.max(0, Math.floor(at * widths.length)));
    return part.dataset.layer + "\nsample " + (i + 1) + " of " + widths.length + ": " + widths[i] + " bits";
  };

  const show = (event) => {
    const part = pointed(event);
    if (!part) return hide();
    tip.textContent = textOf(part, event);
    tip.hidden = false;
    const box = part.getBoundingClientRect(), edge = 8;
    const x = part.dataset.widths && event.clientX !== undefined ? event.clientX : (box.left + box.right) / 2;
    const left = Math.min(Math.max(edge, x - tip.offsetWidth / 2), innerWidth - tip.offsetWidth - edge);
    const above = box.top - tip.offsetHeight - edge;
    tip.style.left = left + "px";
    tip.style.top = (above > edge ? above : box.bottom + edge) + "px";
    [shown, height] = [part, box.top];
    mark(part.dataset.row);
  };

  const moved = () => { if (!tip.hidden && Math.abs(shown.getBoundingClientRect().top - height) > 1) hide(); };

  const hide = () => {
    tip.hidden = true;
    mark(undefined);
  };

  // The same run in chart and table.
  const mark = (row) => {
    for (const each of document.querySelectorAll(".hot")) each.classList.remove("hot");
    if (row === undefined) return;
    for (const each of document.querySelectorAll("[data-row='" + row + "']")) each.classList.add("hot");
  };

  for (const title of document.querySelectorAll("[data-tip] > title")) title.remove();
  for (const kind of ["pointermove", "focusin", "click"]) document.addEventListener(kind, show);
  document.addEventListener("focusout", hide);
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") hide(); });
  addEventListener("scroll", moved, { passive: true });

  // Tables: numbers from the largest first, names from the first letter; what is not known stays last.
  const valueOf = (row, column) => {
    const cell = row.cells[column];
    if (cell.dataset.v !== undefined) return Number(cell.dataset.v);
    return cell.tagName === "TH" ? cell.textContent : undefined;
  };

  const compare = (a, b) => typeof a === "string" ? a.localeCompare(b, "en", { numeric: true }) : a - b;

  const sort = (table, head, column) => {
    const rows = [...table.tBodies[0].rows];
    const first = rows.map((row) => valueOf(row, column)).find((value) => value !== undefined);
    const before = head.getAttribute("aria-sort");
    const rising = before ? before === "descending" : typeof first === "string";
    rows.sort((p, q) => {
      const a = valueOf(p, column), b = valueOf(q, column);
      if (a === undefined || b === undefined) return (a === undefined) - (b === undefined);
      return rising ? compare(a, b) : compare(b, a);
    });
    for (const each of table.tHead.rows[0].cells) each.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", rising ? "ascending" : "descending");
    table.tBodies[0].append(...rows);
  };

  for (const table of document.querySelectorAll("table.sortable")) {
    [...table.tHead.rows[0].cells].forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      button.addEventListener("click", () => sort(table, head, column));
      head.append(button);
    });
  }

  // The theme: the style sheet's one rule for dark pages holds always, never, or as the system says.
  const dark = [...document.styleSheets[0].cssRules].find((rule) => rule.media && /dark/.test(rule.media.mediaText));
  const system = dark.media.mediaText;
  const themes = [["as the system", system, ""], ["light", "not all", "light"], ["dark", "all", "dark"]];
  const button = document.getElementById("theme");
  let chosen = 0;
  button.hidden = false;
  button.addEventListener("click", () => {
    chosen = (chosen + 1) % themes.length;
    const [name, media, scheme] = themes[chosen];
    dark.media.mediaText = media;
    document.documentElement.style.colorScheme = scheme;
    button.textContent = "theme: " + name;
  });
})();
