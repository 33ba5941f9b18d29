/** What is in a script element as base64 of gzip. */
async function unpack(id) {
  const packed = Uint8Array.from(atob(document.getElementById(id).textContent), (letter) => letter.charCodeAt(0));
  return new Response(new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"))).json();
}

const figures = await unpack("figures");
const plots = [...document.querySelectorAll(".plot")];
const darkScheme = matchMedia("(prefers-color-scheme: dark)");
const printWidth = 640;

/** A figure's layout in the colours that the style sheet has now. */
function themed(layout, width) {
  const style = getComputedStyle(document.documentElement);
  const color = (name) => style.getPropertyValue(name).trim();
  const axis = { gridcolor: color("--rule"), linecolor: color("--rule"), zerolinecolor: color("--muted") };
  return {
    ...layout,
    width,
    autosize: width === undefined,
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: getComputedStyle(document.body).fontFamily, size: 13, color: color("--ink") },
    hoverlabel: { bgcolor: color("--paper"), bordercolor: color("--muted"), font: { color: color("--ink") }, align: "left" },
    xaxis: { ...axis, ...layout.xaxis, fixedrange: true },
    yaxis: { ...axis, ...layout.yaxis, fixedrange: true },
  };
}

function draw(plot, width) {
  const figure = figures[plot.dataset.section][plot.dataset.label];
  Plotly.react(plot, figure.data, themed(figure.layout, width), { displayModeBar: false, responsive: true });
}

function drawAll(width) {
  for (const plot of plots) draw(plot, width);
}

function chooseProxy(select) {
  const plot = document.querySelector("#scatter .plot");
  plot.dataset.label = select.value;
  draw(plot);
}

/** Sorts the rows by a column: numbers high to low at first, text from a to z; cells without a value stay last. */
function sortBy(header) {
  const headers = [...header.parentElement.children];
  const column = headers.indexOf(header);
  const body = header.closest("table").tBodies[0];
  const cells = [...body.rows].map((row) => row.cells[column]);
  const isText = header.classList.contains("text");
  const first = isText ? "ascending" : "descending";
  const second = isText ? "descending" : "ascending";
  const order = header.getAttribute("aria-sort") === first ? second : first;
  const sign = order === "ascending" ? 1 : -1;
  const compare = (one, other) => (isText ? one.localeCompare(other) : Number(one) - Number(other));
  const known = cells.filter((cell) => "key" in cell.dataset);
  const missing = cells.filter((cell) => !("key" in cell.dataset));
  known.sort((one, other) => sign * compare(one.dataset.key, other.dataset.key));
  body.append(...[...known, ...missing].map((cell) => cell.parentElement));
  for (const each of headers) each.removeAttribute("aria-sort");
  header.setAttribute("aria-sort", order);
}

/** Says in words, and by a fade, that a box has more than it shows. */
function showRest(scroller) {
  const box = scroller.parentElement;
  const hint = box.querySelector(".hint");
  const left = scroller.scrollWidth - scroller.clientWidth;
  box.classList.toggle("has-rest", left - scroller.scrollLeft > 1);
  hint.hidden = left <= 1;
  if (hint.hidden) scroller.removeAttribute("aria-describedby");
  else scroller.setAttribute("aria-describedby", hint.id);
}

const resized = new ResizeObserver((entries) => entries.forEach((entry) => showRest(entry.target)));
for (const scroller of document.querySelectorAll(".scroller")) {
  scroller.addEventListener("scroll", () => showRest(scroller), { passive: true });
  resized.observe(scroller);
}
for (const header of document.querySelectorAll(".proxies thead th")) {
  header.querySelector("button").addEventListener("click", () => sortBy(header));
}
const chooser = document.getElementById("proxy");
chooser.addEventListener("change", () => chooseProxy(chooser));
chooser.selectedIndex = 0;
darkScheme.addEventListener("change", () => drawAll());
addEventListener("beforeprint", () => {
  for (const details of document.querySelectorAll("details")) details.open = true;
  drawAll(printWidth);
});
addEventListener("afterprint", () => drawAll());
drawAll();
