/** Steps that can be taken back and taken again; a new step ends what could be taken again. */
export class History<Step> {
  private done: Step[] = [];
  private undone: Step[] = [];

  get canUndo(): boolean {
    return this.done.length > 0;
  }

  get canRedo(): boolean {
    return this.undone.length > 0;
  }

  push(step: Step): void {
    this.done.push(step);
    this.undone = [];
  }

  undo(): Step | undefined {
    const step = this.done.pop();
    if (step) this.undone.push(step);
    return step;
  }

  redo(): Step | undefined {
    const step = this.undone.pop();
    if (step) this.done.push(step);
    return step;
  }

  forget(isGone: (step: Step) => boolean): void {
    this.done = this.done.filter((step) => !isGone(step));
    this.undone = this.undone.filter((step) => !isGone(step));
  }
}
