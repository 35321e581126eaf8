// What a pointer does to the image, and how marks and strokes are drawn above it.

import type { Edit, Label, Mark, NumberedMark, Place } from "./api";
import type { Spot, Viewer } from "./viewer";
import { number, runsOf } from "./voxels";

export type Tool = "look" | "point" | "box" | "diameter" | "scribble" | "eraser" | "slice";
export const TOOLS: [Tool, string, string][] = [
  ["look", "Look", "v"],
  ["point", "Point", "p"],
  ["box", "Box", "b"],
  ["diameter", "Diameter", "d"],
  ["scribble", "Scribble", "w"],
  ["eraser", "Eraser", "e"],
  ["slice", "Fill slice", "f"],
];

/** What the tools need to know of the page. */
export interface Page {
  viewer: Viewer;
  labels: Label[];
  tool(): Tool;
  label(): number;
  brush(): number;
  marks(): NumberedMark[];
  takesHints(): boolean;
  edit(edit: Edit): void;
  choose(label: number): void;
  tell(words: string, bad?: boolean): void;
}

export class Tools {
  private path: Spot[] = [];
  private erasing = false;
  private corner: Place | null = null;
  private corners: Spot[] = []; // of an outline from the keyboard

  constructor(readonly page: Page, readonly stage: HTMLElement, readonly above: HTMLCanvasElement) {
    // NiiVue hears mouse events; what a tool takes must not reach it
    for (const kind of ["mousedown", "pointerdown", "touchstart"] as const)
      stage.addEventListener(kind, (event) => this.down(event as PointerEvent), { capture: true });
    for (const kind of ["mousemove", "pointermove"] as const)
      stage.addEventListener(kind, (event) => this.move(event as PointerEvent), { capture: true });
    for (const kind of ["mouseup", "pointerup"] as const)
      window.addEventListener(kind, (event) => this.up(event as PointerEvent), { capture: true });
  }

  private down(event: PointerEvent): void {
    const { page } = this;
    if (event.button !== 0 || event.shiftKey || event.target !== page.viewer.canvas) return;
    const spot = page.viewer.spot(event);
    if (!spot) return;
    const tool = page.tool();
    if (tool === "look" || event.altKey) {
      if (event.type === "pointerdown") this.pick(spot);
      if (tool === "look") return;
      event.stopPropagation();
      return;
    }
    event.stopPropagation();
    event.preventDefault();
    page.viewer.canvas.focus();
    if (event.type !== "pointerdown" || !this.allowed()) return;
    this.erasing = event.ctrlKey || event.metaKey || tool === "eraser";
    this.path = [spot];
    this.draw();
  }

  private move(event: PointerEvent): void {
    if (!this.path.length) return;
    event.stopPropagation();
    if (event.type !== "pointermove" || event.target !== this.page.viewer.canvas) return;
    const spot = this.page.viewer.spot(event);
    if (!spot || spot.axis !== this.path[0]?.axis) return;
    this.path.push(spot);
    this.draw();
  }

  private up(event: PointerEvent): void {
    if (!this.path.length || event.type !== "pointerup") return;
    const path = this.path;
    this.path = [];
    this.finish(path);
    this.draw();
  }

  private allowed(): boolean {
    if (this.page.takesHints()) return true;
    this.page.tell("This is a test case (imagesTs): look and judge; hints are of imagesTr", true);
    return false;
  }

  /** A click on the mask chooses its label. */
  private pick(spot: Spot): void {
    const opened = this.page.viewer.opened;
    const mask = this.page.viewer.layer("mask");
    if (!opened || !mask) return;
    const found = mask.voxels[number(opened.shape, ...spot.voxel)];
    if (found) this.page.choose(found);
  }

  private finish(path: Spot[]): void {
    const { page } = this;
    const label = page.labels[page.label()] as Label;
    const [first, last] = [path[0] as Spot, path[path.length - 1] as Spot];
    switch (page.tool()) {
      case "point":
        if (this.erasing) this.removeNear(last);
        else page.edit({ add: [this.pointAt(last.voxel)] });
        break;
      case "box":
        if (this.foreground()) this.addBox(first, last);
        break;
      case "diameter":
        if (this.foreground()) this.addDiameter(first, last);
        break;
      case "scribble":
      case "eraser":
        page.edit({ paint: { layer: "scribbles", label: this.erasing ? null : label.name, runs: runsOf(this.brushed(path)) } });
        break;
      case "slice": {
        const inside = this.filled(path);
        if (this.erasing) page.edit({ paint: { layer: "slices", label: null, runs: runsOf(inside) } });
        else if (inside.size)
          page.edit({ paint: { layer: "slices", label: label.name, runs: runsOf(inside), plane: [first.axis, first.voxel[first.axis]] } });
        break;
      }
      case "look":
    }
  }

  pointAt(voxel: Place): Mark {
    const label = this.page.labels[this.page.label()] as Label;
    return { kind: "point", label: label.name, at: this.page.viewer.world(voxel) };
  }

  /** What Enter does at the crosshair: everything a pointer does, from the keyboard. */
  enter(): void {
    if (!this.allowed()) return;
    const { page } = this;
    const voxel = page.viewer.cross();
    const spot: Spot = { index: voxel, voxel, axis: 2 };
    const tool = page.tool();
    this.erasing = tool === "eraser";
    if (tool === "box" || tool === "diameter") {
      if (!this.foreground()) return;
      if (!this.corner) {
        this.corner = voxel;
        page.tell(`First end set; move the crosshair to the other and press Enter`);
        return;
      }
      const from: Spot = { index: this.corner, voxel: this.corner, axis: 2 };
      this.corner = null;
      if (tool === "box") this.boxBetween(from.voxel, voxel);
      else this.addDiameter(from, spot);
    } else if (tool === "scribble" || tool === "eraser") this.finish([spot]);
    else if (tool === "slice") this.addCorner(spot);
    else page.edit({ add: [this.pointAt(voxel)] });
  }

  /** An outline from the keyboard, on the slice of its first corners: setting the last one again closes it. */
  private addCorner(spot: Spot): void {
    const corners = this.corners;
    const last = corners[corners.length - 1];
    const same = (a: Spot, b: Spot, n: number) => a.voxel[n] === b.voxel[n];
    if (last && [0, 1, 2].every((n) => same(last, spot, n))) {
      this.cancel();
      if (corners.length > 2) this.finish(corners);
      return;
    }
    const all = [...corners, spot];
    const axis = ([2, 1, 0] as const).find((n) => all.every((one) => same(one, spot, n)));
    if (axis === undefined) return this.page.tell("Corners of an outline lie on one slice; Escape drops it", true);
    this.corners = all.map((one) => ({ ...one, axis }));
    this.draw();
    this.page.tell(`Corner ${all.length} set; Enter twice at the last one closes the outline`);
  }

  cancel(): void {
    this.path = [];
    this.corners = [];
    this.corner = null;
    this.draw();
  }

  private foreground(): boolean {
    if (this.page.label() > 0) return true;
    this.page.tell("Choose a label other than background: boxes and diameters are of objects", true);
    return false;
  }

  private addBox(first: Spot, last: Spot): void {
    const shape = (this.page.viewer.opened as NonNullable<Viewer["opened"]>).shape;
    const spacing = (this.page.viewer.opened as NonNullable<Viewer["opened"]>).spacing_mm;
    const [low, high] = [[...first.voxel] as Place, [...last.voxel] as Place];
    const sizes = [0, 1, 2].filter((n) => n !== first.axis).map((n) => (Math.abs((high[n] as number) - (low[n] as number)) + 1) * (spacing[n] as number));
    const half = sizes.reduce((a, b) => a + b, 0) / 4 / (spacing[first.axis] as number);
    const middle = first.voxel[first.axis];
    low[first.axis] = Math.max(0, Math.round(middle - half));
    high[first.axis] = Math.min((shape[first.axis] as number) - 1, Math.round(middle + half));
    // a second box of the label in another plane sets the depth of the first
    const before = this.page.marks().filter(({ mark }) => mark.kind === "box" && mark.label === this.name()).at(-1);
    const old = before && before.mark.kind === "box" ? this.ofBox(before.mark) : null;
    if (old && before && this.crosses(old, first, last)) {
      for (const n of [0, 1, 2] as const) {
        if (n === first.axis) [low[n], high[n]] = [Math.round(old.low[n]), Math.round(old.high[n])];
      }
      this.boxBetween(low, high, [before.id]);
    } else this.boxBetween(low, high);
  }

  /** Whether a box drawn in another plane lies over the last one. */
  private crosses(old: { low: Place; high: Place; axis: number }, first: Spot, last: Spot): boolean {
    if (first.voxel[first.axis] < old.low[first.axis] || first.voxel[first.axis] > old.high[first.axis]) return false;
    return [0, 1, 2].every((n) => {
      if (n === first.axis) return true;
      const [a, b] = [Math.min(first.voxel[n] as number, last.voxel[n] as number), Math.max(first.voxel[n] as number, last.voxel[n] as number)];
      return a <= (old.high[n] as number) && b >= (old.low[n] as number);
    });
  }

  private ofBox(mark: Extract<Mark, { kind: "box" }>): { low: Place; high: Place; axis: number } {
    const ends = [this.page.viewer.index(mark.low), this.page.viewer.index(mark.high)];
    const pick = (f: (...v: number[]) => number) => [0, 1, 2].map((n) => f(...ends.map((e) => e[n] as number))) as Place;
    return { low: pick(Math.min), high: pick(Math.max), axis: -1 };
  }

  private boxBetween(a: Place, b: Place, remove: number[] = []): void {
    const low = a.map((v, n) => Math.min(v, b[n] as number) - 0.5) as Place;
    const high = a.map((v, n) => Math.max(v, b[n] as number) + 0.5) as Place;
    const corners = [0, 1, 2, 3, 4, 5, 6, 7].map((bits) =>
      this.page.viewer.world([0, 1, 2].map((n) => ((bits >> n) & 1 ? high[n] : low[n])) as Place));
    const ends = (f: (...v: number[]) => number) => [0, 1, 2].map((n) => f(...corners.map((c) => c[n] as number))) as Place;
    this.page.edit({ add: [{ kind: "box", label: this.name(), low: ends(Math.min), high: ends(Math.max) }], remove });
  }

  private addDiameter(first: Spot, last: Spot): void {
    const [a, b] = [this.page.viewer.world(first.index), this.page.viewer.world(last.index)];
    const length = Math.hypot(...a.map((v, n) => v - (b[n] as number)));
    if (length < 0.5) {
      this.page.tell("Drag from one end of the object to the other", true);
      return;
    }
    const centre = a.map((v, n) => (v + (b[n] as number)) / 2) as Place;
    this.page.edit({ add: [{ kind: "diameter", label: this.name(), centre, diameter_mm: length }] });
  }

  private name(): string {
    return (this.page.labels[this.page.label()] as Label).name;
  }

  private removeNear(spot: Spot): void {
    const near = this.page.marks()
      .map(({ id, mark }) => ({ id, away: this.away(mark, spot) }))
      .sort((a, b) => a.away - b.away)[0];
    if (near && near.away < 4) this.page.edit({ remove: [near.id] });
    else this.page.tell("No hint lies here", true);
  }

  /** Voxels between a mark and a spot. */
  private away(mark: Mark, spot: Spot): number {
    const at = mark.kind === "point" ? mark.at : mark.kind === "diameter" ? mark.centre : null;
    if (at) return Math.hypot(...this.page.viewer.index(at).map((v, n) => v - (spot.voxel[n] as number)));
    if (mark.kind !== "box") return Infinity;
    const { low, high } = this.ofBox(mark);
    return spot.voxel.every((v, n) => v >= (low[n] as number) - 1 && v <= (high[n] as number) + 1) ? 3 : Infinity;
  }

  /** Voxels under a round brush of some voxels along a path, in its slice. */
  private brushed(path: Spot[]): Set<number> {
    const { shape, spacing_mm: spacing } = this.page.viewer.opened as NonNullable<Viewer["opened"]>;
    const axis = (path[0] as Spot).axis;
    const [a, b] = [0, 1, 2].filter((n) => n !== axis) as [number, number];
    const fine = Math.min(spacing[a] as number, spacing[b] as number);
    const radius = (this.page.brush() * fine) / 2;
    const [ra, rb] = [radius / (spacing[a] as number), radius / (spacing[b] as number)];
    const found = new Set<number>();
    const stamp = (at: Place) => {
      for (let p = Math.ceil((at[a] as number) - ra); p <= (at[a] as number) + ra; p++)
        for (let q = Math.ceil((at[b] as number) - rb); q <= (at[b] as number) + rb; q++) {
          if (p < 0 || q < 0 || p >= (shape[a] as number) || q >= (shape[b] as number)) continue;
          if (((p - (at[a] as number)) / ra) ** 2 + ((q - (at[b] as number)) / rb) ** 2 > 1) continue;
          const voxel: Place = [0, 0, 0];
          voxel[axis] = (path[0] as Spot).voxel[axis];
          voxel[a as 0 | 1 | 2] = p;
          voxel[b as 0 | 1 | 2] = q;
          found.add(number(shape, ...voxel));
        }
    };
    path.forEach((spot, n) => {
      const from = (path[Math.max(0, n - 1)] as Spot).index;
      const steps = Math.max(1, Math.ceil(Math.hypot(...spot.index.map((v, m) => v - (from[m] as number)))));
      for (let s = 1; s <= steps; s++) stamp(from.map((v, m) => v + ((spot.index[m] as number) - v) * (s / steps)) as Place);
      found.add(number(shape, ...spot.voxel));
    });
    return found;
  }

  /** Voxels inside a closed path, its own included. */
  private filled(path: Spot[]): Set<number> {
    const { shape } = this.page.viewer.opened as NonNullable<Viewer["opened"]>;
    const axis = (path[0] as Spot).axis;
    const [a, b] = [0, 1, 2].filter((n) => n !== axis) as [0 | 1 | 2, 0 | 1 | 2];
    const ring = path.map((spot) => [spot.index[a], spot.index[b]] as const);
    const found = new Set<number>();
    const rows = ring.map(([, q]) => q);
    for (let q = Math.max(0, Math.ceil(Math.min(...rows))); q <= Math.min(shape[b] - 1, Math.max(...rows)); q++) {
      const cuts: number[] = [];
      ring.forEach(([p0, q0], n) => {
        const [p1, q1] = ring[(n + 1) % ring.length] as readonly [number, number];
        if (q0 <= q !== q1 <= q) cuts.push(p0 + ((q - q0) / (q1 - q0)) * (p1 - p0));
      });
      cuts.sort((x, y) => x - y);
      for (let c = 0; c + 1 < cuts.length; c += 2)
        for (let p = Math.max(0, Math.ceil(cuts[c] as number)); p <= Math.min(shape[a] - 1, cuts[c + 1] as number); p++) {
          const voxel: Place = [0, 0, 0];
          voxel[axis] = (path[0] as Spot).voxel[axis];
          voxel[a] = p;
          voxel[b] = q;
          found.add(number(shape, ...voxel));
        }
    }
    if (!found.size) return found;
    path.forEach((spot, n) => {
      const to = (path[(n + 1) % path.length] as Spot).voxel;
      const steps = Math.max(1, ...to.map((v, m) => Math.abs(v - (spot.voxel[m] as number))));
      for (let s = 0; s < steps; s++)
        found.add(number(shape, ...(spot.voxel.map((v, m) => Math.round(v + (((to[m] as number) - v) * s) / steps)) as Place)));
    });
    return found;
  }

  /** Draw marks, and the stroke in hand, on the slices they lie in. */
  draw(): void {
    const { page, above } = this;
    const canvas = page.viewer.canvas;
    const ratio = window.devicePixelRatio || 1;
    if (above.width !== canvas.clientWidth * ratio || above.height !== canvas.clientHeight * ratio) {
      above.width = canvas.clientWidth * ratio;
      above.height = canvas.clientHeight * ratio;
    }
    const pen = above.getContext("2d");
    if (!pen) return;
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, above.width, above.height);
    if (!page.viewer.opened) return;
    const cross = page.viewer.cross();
    for (const tile of page.viewer.tiles()) {
      pen.save();
      const [left, top, width, height] = tile.box as [number, number, number, number];
      pen.beginPath();
      pen.rect(left, top, width, height);
      pen.clip();
      for (const { mark } of page.marks()) this.drawMark(pen, mark, tile, cross);
      const path = this.path.length ? this.path : this.corners;
      if (path[0]?.axis === tile.axis) this.drawPath(pen, tile, path);
      pen.restore();
    }
  }

  private colour(label: number): string {
    const [r, g, b] = (page_colour(this.page.labels, label));
    return `rgb(${r} ${g} ${b})`;
  }

  private drawMark(pen: CanvasRenderingContext2D, mark: Mark, tile: ReturnType<Viewer["tiles"]>[number], cross: Place): void {
    const { viewer, labels } = this.page;
    const colour = this.colour(labels.findIndex((label) => label.name === mark.label));
    pen.lineWidth = 2;
    if (mark.kind === "point") {
      const index = viewer.index(mark.at);
      const away = Math.abs((index[tile.axis] as number) - (cross[tile.axis] as number));
      const at = tile.at(index);
      if (!at || away > 3) return;
      pen.globalAlpha = away < 0.75 ? 1 : 0.35;
      pen.beginPath();
      pen.arc(at[0], at[1], away < 0.75 ? 5 : 3.5, 0, 7);
      pen.fillStyle = colour;
      pen.fill();
      pen.strokeStyle = mark.label === "background" ? "#fff" : "#000";
      pen.stroke();
      if (mark.label === "background") {
        pen.beginPath();
        pen.moveTo(at[0] - 3, at[1]);
        pen.lineTo(at[0] + 3, at[1]);
        pen.stroke();
      }
    } else if (mark.kind === "diameter") {
      const index = viewer.index(mark.centre);
      const spacing = (viewer.opened as NonNullable<Viewer["opened"]>).spacing_mm;
      const away = Math.abs((index[tile.axis] as number) - (cross[tile.axis] as number)) * (spacing[tile.axis] as number);
      const flat = (mark.diameter_mm / 2) ** 2 - away ** 2;
      if (flat <= 0) return;
      const side = [...index] as Place;
      const other = ((tile.axis + 1) % 3) as 0 | 1 | 2;
      side[other] += Math.sqrt(flat) / spacing[other];
      const [at, to] = [tile.at(index), tile.at(side)];
      if (!at || !to) return;
      pen.globalAlpha = 1;
      pen.strokeStyle = colour;
      pen.beginPath();
      pen.arc(at[0], at[1], Math.hypot(to[0] - at[0], to[1] - at[1]), 0, 7);
      pen.stroke();
    } else if (mark.kind === "box") {
      const { low, high } = this.ofBox(mark);
      const inside = cross[tile.axis] >= low[tile.axis] - 0.5 && cross[tile.axis] <= high[tile.axis] + 0.5;
      const [a, b] = [tile.at(low), tile.at(high)];
      if (!a || !b) return;
      pen.globalAlpha = inside ? 1 : 0.25;
      pen.strokeStyle = colour;
      pen.setLineDash(inside ? [] : [4, 4]);
      pen.strokeRect(Math.min(a[0], b[0]), Math.min(a[1], b[1]), Math.abs(a[0] - b[0]), Math.abs(a[1] - b[1]));
      pen.setLineDash([]);
    }
    pen.globalAlpha = 1;
  }

  private drawPath(pen: CanvasRenderingContext2D, tile: ReturnType<Viewer["tiles"]>[number], path: Spot[]): void {
    const places = path.map((spot) => tile.at(spot.index)).filter((at) => at !== null);
    const [first, last] = [places[0], places[places.length - 1]];
    if (!first || !last) return;
    const tool = this.page.tool();
    pen.strokeStyle = pen.fillStyle = this.erasing ? "#fff" : this.colour(this.page.label());
    pen.lineWidth = 2;
    pen.lineCap = pen.lineJoin = "round";
    pen.beginPath();
    if (tool === "box") pen.rect(first[0], first[1], last[0] - first[0], last[1] - first[1]);
    else if (tool === "diameter") {
      pen.moveTo(first[0], first[1]);
      pen.lineTo(last[0], last[1]);
    } else {
      if (tool !== "slice" && tool !== "point") {
        const one = tile.at((path[0] as Spot).index.map((v, n) => (n === tile.axis ? v : v + 1)) as Place);
        if (one) pen.lineWidth = Math.max(2, Math.abs(one[0] - first[0]) * this.page.brush());
        pen.globalAlpha = 0.6;
      }
      pen.moveTo(first[0], first[1]);
      for (const at of places) pen.lineTo(at[0], at[1]);
      pen.lineTo(last[0] + 0.1, last[1]);
      if (tool === "slice") pen.closePath();
    }
    pen.stroke();
    pen.globalAlpha = 1;
  }
}

function page_colour(labels: Label[], label: number): [number, number, number] {
  return label > 0 ? ((labels[label] as Label).colour) : [40, 40, 40];
}
