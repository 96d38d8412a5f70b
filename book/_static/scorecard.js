// The scorecard's filter: hides rows that do not match, and papers without a row; what is chosen stands in the address.
document.addEventListener("DOMContentLoaded", () => {
  const form = document.querySelector("form.filter");
  if (!form) return;
  const rows = [...document.querySelectorAll("table.scorecard tbody tr")];
  const sections = [...new Set(rows.map((row) => row.closest("section")))];
  const asked = new URLSearchParams(location.search);
  for (const [name, value] of asked) if (form.elements[name]) form.elements[name].value = value;

  const matches = (row, chosen) =>
    Object.entries(chosen).every(([name, value]) =>
      name === "text" ? row.textContent.toLowerCase().includes(value.toLowerCase()) : row.dataset[name].split(" ").includes(value) || row.dataset[name] === value,
    );

  function filter() {
    const chosen = Object.fromEntries([...new FormData(form)].filter(([, value]) => value));
    for (const row of rows) row.hidden = !matches(row, chosen);
    for (const section of sections) section.hidden = Object.keys(chosen).length > 0 && !section.querySelector("tbody tr:not([hidden])");
    const shown = rows.filter((row) => !row.hidden).length;
    form.querySelector("output").textContent = shown === rows.length ? `${shown} claims` : `${shown} of ${rows.length} claims`;
    const query = new URLSearchParams(chosen).toString();
    if (query !== asked.toString() || location.search) history.replaceState(null, "", `${location.pathname}${query ? "?" + query : ""}${location.hash}`);
  }

  form.hidden = false;
  form.addEventListener("input", filter);
  form.addEventListener("submit", (event) => event.preventDefault());
  filter();
});
