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

// The colours change here and now, and the server is only told to keep the choice: to load the page once more would lose what
// it shows this once.
addEventListener("submit", (event) => {
  const menu = event.target.closest(".theme");
  const choice = event.submitter;
  if (!menu || !choice) return;
  event.preventDefault();
  if (choice.value === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = choice.value;
  for (const button of menu.querySelectorAll("button")) button.ariaPressed = String(button === choice);
  menu.open = false;
  menu.querySelector("summary").focus();
  const body = new URLSearchParams({ theme: choice.value });
  fetch(event.target.action, { method: "POST", body, redirect: "manual", keepalive: true }).catch(() => {});
});

// The menu of colours closes as menus do.
const colours = document.querySelector(".theme");
addEventListener("click", (event) => { if (!event.target.closest(".theme")) colours?.removeAttribute("open"); });
addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || !colours?.open) return;
  colours.open = false;
  colours.querySelector("summary").focus();
});
