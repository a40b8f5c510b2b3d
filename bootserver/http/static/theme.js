// The colours that were chosen here, before the first paint. A classic script: modules come later.

try {
  const chosen = localStorage.getItem("theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
} catch {
  // Storage is switched off: the system's colours hold.
}
