// Runs in every page of both contenders before their own scripts: when the click was, and what was on the screen when.
// Moments are milliseconds since the epoch, so that they outlive a navigation.
(() => {
  const now = () => performance.timeOrigin + performance.now();
  const seen = (window.__seen = { began: performance.timeOrigin });
  performance.setResourceTimingBufferSize(5000);
  addEventListener("click", () => sessionStorage.setItem("clicked", String(now())), true);

  // The browser itself tells when the server's preview was painted, the largest thing on the page by then. A timer
  // of ours would run only after the viewer has started, which takes the page's thread for a second.
  new PerformanceObserver((list) => {
    const shown = list.getEntries().find((one) => one.url.includes("/rendered"));
    if (shown) seen.preview ??= performance.timeOrigin + (shown.renderTime || shown.loadTime);
  }).observe({ type: "largest-contentful-paint", buffered: true });

  // Both viewers draw lossless pixels into Cornerstone's visible 2D canvas; an empty one has one or two greys.
  // It is looked at through a small copy: reading all of it back would slow down whom we measure.
  let small;
  const imageIsThere = () => [...document.querySelectorAll("canvas.cornerstone-canvas")].some((canvas) => {
    if (canvas.width < 100 || canvas.height < 100) return false;
    small ??= Object.assign(document.createElement("canvas"), { width: 48, height: 48 })
      .getContext("2d", { willReadFrequently: true });
    small.drawImage(canvas, 0, 0, 48, 48);
    const { data } = small.getImageData(8, 8, 32, 32);
    return new Set(data.filter((_, at) => at % 4 === 0)).size > 20;
  });
  const frames = () => performance.getEntriesByType("resource")
    .filter((one) => /\/frames\/1$/.test(one.name) && one.responseEnd > 0 && one.responseStatus === 200);
  const look = () => {
    if (!seen.image && imageIsThere()) seen.image = now();
    seen.clicked = Number(sessionStorage.getItem("clicked"));
    seen.frames = frames().length;
    if (!seen.image) setTimeout(look, 40);
  };
  const count = () => { seen.frames = frames().length; seen.lastFrame = now(); setTimeout(count, 250); };
  addEventListener("DOMContentLoaded", () => { look(); count(); });
})();
