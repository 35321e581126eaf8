// A slider moves all panels of its view to one slice.
document.addEventListener("input", (event) => {
  const view = event.target.closest(".view");
  if (view === null) return;
  view.style.setProperty("--slice", event.target.value);
  view.querySelector("output").textContent = event.target.dataset.places.split("|")[event.target.value];
});
// On a narrow page the contents begin closed.
if (matchMedia("(max-width: 60rem)").matches) document.getElementById("contents").open = false;
