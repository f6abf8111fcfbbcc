// Light, dark, or as the system says: set before the first paint.
(() => {
  const chosen = (() => { try { return localStorage.getItem("stanchion.theme"); } catch { return null; } })();
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
})();
