/** Viewports that follow the one in which the reader moves, and what is said of how they are linked. */
import type { Grid } from "./grid";
import { Registrations, areParallel, matchingSlice, placeOf, stackOf, type Registration, type Stack } from "./linking";
import type { ReadingViewport } from "./viewport";
import { word } from "./words";

export class Links {
  /** Whether viewports follow at all; the reader stops it to look for the place where she wants to link them. */
  isOn = true;
  private readonly registrations = new Registrations();
  private readonly stacks = new WeakMap<object, Stack | undefined>();
  private isFollowing = false;

  constructor(private readonly grid: Grid) {}

  /** The reader has moved in the active viewport: those that are linked go to the same place in the patient. */
  follow(viewport: ReadingViewport): void {
    if (this.isFollowing || !this.isOn || viewport !== this.grid.active) return;
    this.isFollowing = true;
    try {
      for (const other of this.grid.visible) {
        const match = this.match(viewport, other);
        if (match && match.index !== other.index) other.scrollTo(match.index);
        else if (match) other.write();
      }
    } finally {
      this.isFollowing = false;
    }
  }

  /** The slice of this display set that lies where the viewport is; undefined where that is not known. */
  sliceFor(viewport: ReadingViewport, displaySet: DisplaySetOf): number | undefined {
    const [a, b] = [this.stackIn(viewport), this.stackFrom(displaySet)];
    const registration = a && b && this.registrations.between(a, b);
    return registration && matchingSlice(a, viewport.index, b, registration)?.index;
  }

  /** The slices on the screen show the same anatomy. Answers the mm between their coordinates, of the first that is told. */
  linkHere(): number | undefined {
    const { active } = this.grid;
    const from = this.stackIn(active);
    const told = this.grid.visible.map((other) => {
      const to = other === active ? undefined : this.stackIn(other);
      // Slices of one frame of reference lie where they lie.
      return from && to && to.space !== from.space ? this.registrations.linkHere(from, active.index, to, other.index) : undefined;
    });
    const found = told.find((shift) => shift !== undefined);
    if (found !== undefined) this.isOn = true;
    return found;
  }

  /** What stands in a viewport about its link to the active one; empty where there is none to speak of. */
  wordFor(viewport: ReadingViewport): string {
    const { active } = this.grid;
    const [a, b] = [this.stackIn(active), this.stackIn(viewport)];
    if (!a || !b || viewport === active || a.space === b.space || !areParallel(a, b) || !this.grid.visible.includes(viewport)) return "";
    if (!this.isOn) return word("unlinked");
    const registration = this.registrations.between(a, b);
    const misses = registration && this.missing(a, active.index, b, viewport.index, registration);
    if (!registration || misses === undefined) return "";
    return `${word(`linked_by_${registration.by}`)} · Δ ${misses.toFixed(1)} mm`;
  }

  /** Where the slice on the screen lies along its stack, in mm. */
  placeIn(viewport: ReadingViewport): number | undefined {
    const stack = this.stackIn(viewport);
    return stack && placeOf(stack, viewport.index);
  }

  private match(viewport: ReadingViewport, other: ReadingViewport): { index: number; misses: number } | undefined {
    const [a, b] = [this.stackIn(viewport), this.stackIn(other)];
    const registration = other !== viewport && a && b ? this.registrations.between(a, b) : undefined;
    return registration && a && b ? matchingSlice(a, viewport.index, b, registration) : undefined;
  }

  private missing(a: Stack, aIndex: number, b: Stack, bIndex: number, { shift }: Registration): number | undefined {
    const [from, to] = [placeOf(a, aIndex, b), placeOf(b, bIndex)];
    const [x, y, z] = b.normal;
    return from === undefined || to === undefined ? undefined : Math.abs(to - from - (shift[0] * x + shift[1] * y + shift[2] * z));
  }

  private stackIn(viewport: ReadingViewport): Stack | undefined {
    return viewport.displaySet && this.stackFrom(viewport.displaySet);
  }

  private stackFrom(displaySet: DisplaySetOf): Stack | undefined {
    if (!this.stacks.has(displaySet)) this.stacks.set(displaySet, stackOf(displaySet));
    return this.stacks.get(displaySet);
  }
}

type DisplaySetOf = NonNullable<ReadingViewport["displaySet"]>;
