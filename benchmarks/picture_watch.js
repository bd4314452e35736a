// Runs in every page of both contenders before their own scripts: when the click was, and what was on the screen when.
// Moments are milliseconds since the epoch, so that they outlive a navigation.
(() => {
  const now = () => performance.timeOrigin + performance.now();
  const seen = (window.__seen = { began: performance.timeOrigin });
  performance.setResourceTimingBufferSize(5000);
  addEventListener("click", () => sessionStorage.setItem("clicked", String(now())), true);

  // A server-rendered preview is on the screen in the frame after it was decoded.
  const previewIsThere = () => {
    const img = document.querySelector("img.preview");
    return img && img.complete && img.naturalWidth > 0 && img.getBoundingClientRect().width > 50;
  };
  // Both viewers draw lossless pixels into Cornerstone's visible 2D canvas; an empty one has one or two greys.
  const imageIsThere = () => [...document.querySelectorAll("canvas.cornerstone-canvas")].some((canvas) => {
    if (canvas.width < 100 || canvas.height < 100) return false;
    const context = canvas.getContext("2d");
    if (!context) return false;
    const [w, h] = [canvas.width >> 1, canvas.height >> 1];
    const { data } = context.getImageData(canvas.width >> 2, canvas.height >> 2, w, h);
    const greys = new Set();
    for (let at = 0; at < data.length; at += 4 * 37) greys.add(data[at]);
    return greys.size > 20;
  });
  const frames = () => performance.getEntriesByType("resource")
    .filter((one) => /\/frames\/1$/.test(one.name) && one.responseEnd > 0 && one.responseStatus === 200);
  const look = () => {
    if (!seen.preview && previewIsThere()) requestAnimationFrame(() => { seen.preview ??= now(); });
    if (!seen.image && imageIsThere()) seen.image = now();
    seen.clicked = Number(sessionStorage.getItem("clicked"));
    seen.frames = frames().length;
    if (!seen.image || !seen.preview) setTimeout(look, 30);
  };
  const count = () => { seen.frames = frames().length; seen.lastFrame = now(); setTimeout(count, 250); };
  addEventListener("DOMContentLoaded", () => { look(); count(); });
})();
