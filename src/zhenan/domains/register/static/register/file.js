// The button that prints the file.
document.querySelectorAll("[data-print]").forEach((button) => button.addEventListener("click", () => window.print()));
