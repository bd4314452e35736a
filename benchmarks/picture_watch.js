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

  // Lossless pixels stand in Cornerstone's visible 2D canvas, in both viewers, and before that in our first frame's
  // canvas, which a worker paints. Both are looked at alike: their pixels as they are on the screen, drawn into a
  // small copy (reading all of them back would slow down whom we measure); an empty one has one or two greys.
  // A look can come only when the page's thread is free, so it may be late, never early.
  let small;
  const isDrawn = (canvas) => {
    if (canvas.width < 100 || canvas.height < 100 || !canvas.checkVisibility()) return false;
    small ??= Object.assign(document.createElement("canvas"), { width: 48, height: 48 })
      .getContext("2d", { willReadFrequently: true });
    small.clearRect(0, 0, 48, 48);
    small.drawImage(canvas, 0, 0, 48, 48);
    const { data } = small.getImageData(8, 8, 32, 32);
    return new Set(data.filter((_, at) => at % 4 === 0)).size > 20;
  };
  const isThere = (selector) => [...document.querySelectorAll(selector)].some(isDrawn);
  const frames = () => performance.getEntriesByType("resource")
    .filter((one) => /\/frames\/1$/.test(one.name) && one.responseEnd > 0 && one.responseStatus === 200);
  const look = () => {
    // `viewer`: the viewer itself has drawn and can be worked with. `image`: the earlier of it and the first frame.
    if (isThere("canvas.cornerstone-canvas")) seen.viewer = now();
    if (!seen.image && (seen.viewer || isThere("canvas.first-frame"))) seen.image = now();
    seen.clicked = Number(sessionStorage.getItem("clicked"));
    seen.frames = frames().length;
    if (!seen.viewer) setTimeout(look, 40);
  };
  const count = () => { seen.frames = frames().length; seen.lastFrame = now(); setTimeout(count, 250); };
  addEventListener("DOMContentLoaded", () => { look(); count(); });
})();
