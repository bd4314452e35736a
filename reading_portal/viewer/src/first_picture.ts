/** The server's first picture comes before the viewer: once that starts, the page paints nothing for a second. */
const PATIENCE = 1000; // ms; a picture that takes longer, or a page in the background, holds nothing up

/** Resolves when the picture in the page has been painted, with what `also` put on the page; or after PATIENCE. */
export async function firstPicturePainted(section: HTMLElement, also: Promise<void>): Promise<void> {
  const picture = section.querySelector<HTMLImageElement>("img.preview");
  if (!picture) return;
  const painted = Promise.all([picture.decode().catch(() => undefined), also])
    .then(() => new Promise<void>((resolve) => { requestAnimationFrame(() => setTimeout(resolve)); }));
  await Promise.race([painted, new Promise<void>((resolve) => { setTimeout(resolve, PATIENCE); })]);
}
