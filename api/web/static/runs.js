// The list of runs keeps itself up to date while a run in it has not ended; two that are ticked can be compared.
import { keepFresh, say } from "./page.js";

keepFresh(["list"], { wanted: () => document.getElementById("list").dataset.unfinished === "yes", say });

document.addEventListener("change", (event) => {
  if (!event.target.matches("[data-pick]")) return;
  const picked = [...document.querySelectorAll("[data-pick]:checked")];
  const button = document.getElementById("compare");
  button.disabled = picked.length !== 2;
});
