// Makes some things quicker. Every page works without it.
const copied = (button) => {
  const text = document.getElementById(button.dataset.copy)?.textContent;
  navigator.clipboard?.writeText(text.trim()).then(() => {
    document.getElementById("say").textContent = "Copied";
  });
};

addEventListener("click", (event) => {
  const copy = event.target.closest("[data-copy]");
  if (copy) copied(copy);
  // A link with data-dialog leads to a page that does the same.
  const opener = event.target.closest("[data-dialog]");
  const dialog = opener && document.getElementById(opener.dataset.dialog);
  if (dialog) {
    event.preventDefault();
    dialog.showModal();
  }
  if (event.target.closest("[data-close]")) {
    event.preventDefault();
    event.target.closest("dialog").close();
  }
});

// What has data-go leads there; a link beside it does the same for keyboards.
addEventListener("click", (event) => {
  const to = event.target.closest("[data-go]");
  if (to) location.assign(to.dataset.go);
});

// A checkbox with data-all ticks every other one of its table.
addEventListener("change", (event) => {
  if (!event.target.matches("[data-all]")) return;
  for (const box of event.target.closest("table").querySelectorAll("tbody input[type=checkbox]")) {
    box.checked = event.target.checked;
  }
});

// The key / goes to the page's search.
addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.matches("input, select, textarea")) return;
  const search = document.querySelector(".search input");
  if (search) {
    event.preventDefault();
    search.focus();
  }
});
