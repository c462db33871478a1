// The fields of a box data-when="name" show while the checkbox of that name is ticked; without script they always show.
(() => {
  "use strict";
  document.querySelectorAll("[data-when]").forEach((box) => {
    const tick = box.closest("form").querySelector(`input[type=checkbox][name="${box.dataset.when}"]`);
    if (!tick) return;
    const show = () => { box.hidden = !tick.checked; };
    tick.addEventListener("change", show);
    show();
  });
})();
