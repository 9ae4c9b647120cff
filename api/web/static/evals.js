// The list of evaluations: two that are ticked can be compared.
document.addEventListener("change", (event) => {
  if (!event.target.matches("[data-pick]")) return;
  document.getElementById("compare").disabled = document.querySelectorAll("[data-pick]:checked").length !== 2;
});
