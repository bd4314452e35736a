/** A slim track at the right of a viewport: where in the stack we are, and a way to jump there. */
export class Track {
  private readonly track: HTMLElement;
  private readonly thumb: HTMLElement;

  /** `jump` hears a share of the stack, 0 for its first slice and 1 for its last. */
  constructor(cell: HTMLElement, jump: (share: number) => void) {
    this.track = cell.appendChild(document.createElement("div"));
    this.track.className = "track";
    this.track.hidden = true;
    this.thumb = this.track.appendChild(document.createElement("i"));
    const follow = (event: PointerEvent): void => {
      const box = this.track.getBoundingClientRect();
      jump(Math.max(0, Math.min(1, (event.clientY - box.top) / box.height)));
    };
    this.track.addEventListener("pointerdown", (event) => { this.track.setPointerCapture(event.pointerId); follow(event); });
    this.track.addEventListener("pointermove", (event) => { if (event.buttons) follow(event); });
  }

  place(index: number, count: number): void {
    this.track.hidden = count < 2;
    this.thumb.style.top = `${(index / Math.max(1, count - 1)) * 100}%`;
  }
}
