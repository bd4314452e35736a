/** A word in passing over the images: what a key has just done. */
export class Toast {
  private readonly line: HTMLElement;
  private fading = 0;

  constructor(section: HTMLElement) {
    this.line = section.appendChild(document.createElement("div"));
    this.line.className = "viewer-toast";
    this.line.setAttribute("role", "status");
  }

  say(sentence: string): void {
    this.line.textContent = sentence;
    clearTimeout(this.fading);
    this.fading = window.setTimeout(() => { this.line.textContent = ""; }, 2600);
  }
}
