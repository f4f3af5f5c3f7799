// Filters the rows of a table by what is typed. Without scripts the box stays hidden and all rows are shown.
for (const box of document.querySelectorAll("input[data-filters]")) {
  const rows = [...document.querySelectorAll(`#${box.dataset.filters} tbody tr`)];
  const texts = rows.map((row) => row.textContent.toLowerCase());
  const count = document.getElementById(box.dataset.filters + "-count");
  const filter = () => {
    const words = box.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    rows.forEach((row, index) => {
      row.hidden = !words.every((word) => texts[index].includes(word));
      shown += row.hidden ? 0 : 1;
    });
    if (count) count.textContent = `${shown} of ${rows.length}`;
  };
  box.closest(".search").hidden = false;
  box.addEventListener("input", filter);
  filter();
}
