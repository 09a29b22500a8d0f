// Says in words, below the choice of a crontab, what the chosen one means. The page holds the words of all of them.
"use strict";

(() => {
  const words = JSON.parse(document.getElementById("readable-crontabs").textContent);
  const saved = document.querySelector(".field-crontab_translation");
  if (saved) saved.hidden = true;
  const choice = document.getElementById("id_crontab");
  if (!choice) return;
  const told = document.createElement("div");
  choice.parentElement.append(told);
  const tell = () => (told.textContent = words[choice.value] ?? "");
  choice.addEventListener("change", tell);
  tell();
})();
