/* Keeps the page of an unfinished job up to date, and loads it anew once the job begins or ends. */
document.addEventListener("DOMContentLoaded", () => {
  const panel = document.querySelector("[data-job-progress]");
  if (!panel || panel.dataset.finished === "true") return;
  const part = (name) => panel.querySelector(`[data-part="${name}"]`);
  const pauseMilliseconds = 2000;

  const show = (job) => {
    part("message").textContent = job.message;
    part("silence").textContent = job.silence;
    part("silence").hidden = !job.silence;
    part("log").textContent = job.log;
    part("log-box").hidden = !job.log;
    const bar = part("bar");
    bar.hidden = job.percent === null;
    bar.value = job.percent ?? 0;
    part("percent").textContent = job.percent === null ? "" : `${job.percent} %`;
  };

  const look = async () => {
    try {
      const answer = await fetch(panel.dataset.jobProgress, { headers: { Accept: "application/json" } });
      if (answer.redirected || !answer.ok) {
        window.location.reload(); // signed out, or the job is gone: the page itself says so
        return;
      }
      const job = await answer.json();
      if (job.state !== panel.dataset.state) {
        window.location.reload();
        return;
      }
      show(job);
    } catch {
      // The site cannot be reached at this moment: the next look may succeed.
    }
    window.setTimeout(look, pauseMilliseconds);
  };

  window.setTimeout(look, pauseMilliseconds);
});
