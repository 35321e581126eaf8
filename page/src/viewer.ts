// The image and its layers, shown by NiiVue; marks lie on a canvas above it.

import { DRAG_MODE, MULTIPLANAR_TYPE, NVImage, Niivue, SHOW_RENDER, SLICE_TYPE } from "@niivue/niivue";
import type { Change, Label, Opened, Place } from "./api";
import { UNDRAWN, lay, nifti, number, toIndex, toWorld } from "./voxels";

export type Layout = "all" | "axial" | "coronal" | "sagittal" | "3D";
const SLICES: Record<Layout, SLICE_TYPE> = {
  all: SLICE_TYPE.MULTIPLANAR,
  axial: SLICE_TYPE.AXIAL,
  coronal: SLICE_TYPE.CORONAL,
  sagittal: SLICE_TYPE.SAGITTAL,
  "3D": SLICE_TYPE.RENDER,
};
/** The axis that each kind of slice lies across. */
const ACROSS = [2, 1, 0] as const;

export interface Spot {
  /** Continuous index on the page's grid. */
  index: Place;
  voxel: Place;
  axis: 0 | 1 | 2;
}

interface Shown { name: string; voxels: Uint8Array; image: NVImage; opacity: number; on: boolean }

/** A table of colours from number 0, which is clear. */
function table(colours: [number, number, number][], faint = -1) {
  const of = (place: 0 | 1 | 2) => colours.map((colour) => colour[place]);
  const clear = (n: number) => (n === 0 ? 0 : n === faint ? 60 : 255);
  return { R: of(0), G: of(1), B: of(2), A: colours.map((_, n) => clear(n)), I: colours.map((_, n) => n) };
}

export class Viewer {
  readonly nv: Niivue;
  opened: Opened | null = null;
  layers: Shown[] = [];
  private mine = 0;

  constructor(readonly canvas: HTMLCanvasElement, readonly labels: Label[], readonly moved: () => void) {
    this.nv = new Niivue({
      backColor: [0, 0, 0, 1],
      crosshairColor: [0.34, 0.71, 0.91, 0.7],
      crosshairWidth: 0.25,
      crosshairWidthUnit: "percent",
      crosshairGap: 3,
      fontColor: [1, 1, 1, 1],
      isRadiologicalConvention: true,
      showAllOrientationMarkers: true,
      isNearestInterpolation: false,
      multiplanarPadPixels: 8,
      multiplanarForceRender: true,
      multiplanarShowRender: SHOW_RENDER.ALWAYS,
      multiplanarLayout: MULTIPLANAR_TYPE.GRID,
      dragAndDropEnabled: false,
      show3Dcrosshair: true,
      loadingText: "",
      logLevel: "error",
      clipPlaneHotKey: "",
      cycleClipPlaneHotKey: "",
      viewModeHotKey: "",
    });
    this.nv.onLocationChange = () => this.moved();
  }

  async attach(): Promise<void> {
    await this.nv.attachToCanvas(this.canvas);
    const pan = { primary: DRAG_MODE.pan, withShift: DRAG_MODE.windowing, withCtrl: DRAG_MODE.pan };
    this.nv.setMouseEventConfig({
      leftButton: { primary: DRAG_MODE.crosshair, withShift: DRAG_MODE.pan, withCtrl: DRAG_MODE.crosshair },
      rightButton: DRAG_MODE.windowing,
      centerButton: pan.primary,
    });
  }

  /** Show a case; returns false if another one was asked for meanwhile. */
  async show(opened: Opened, voxels: Int16Array | Float32Array, mask: Uint8Array, strokes: Uint8Array): Promise<boolean> {
    const turn = ++this.mine;
    const first = opened.channels[0];
    const image = await NVImage.loadFromUrl({
      url: "image.nii",
      name: "image.nii",
      buffer: nifti(voxels, opened),
      colormap: "gray",
      cal_min: first?.low ?? 0,
      cal_max: first?.high ?? 1,
    });
    if (turn !== this.mine) return false;
    while (this.nv.volumes.length) this.nv.removeVolumeByIndex(this.nv.volumes.length - 1);
    this.opened = opened;
    this.layers = [];
    this.nv.addVolume(image);
    await this.add("mask", mask, 0.45, table(this.labels.map((label) => label.colour)));
    const drawn: [number, number, number][] = [[0, 0, 0], [235, 235, 235], ...this.labels.slice(1).map((label) => label.colour)];
    await this.add("strokes", strokes, 0.9, table(drawn, 1));
    this.nv.scene.pan2Dxyzmm = [0, 0, 0, 1];
    this.nv.updateGLVolume();
    return true;
  }

  /** Lay a further layer over the image. */
  async add(name: string, voxels: Uint8Array, opacity: number, colours: ReturnType<typeof table> | null): Promise<void> {
    if (!this.opened) return;
    const image = await NVImage.loadFromUrl({
      url: `${name}.nii`,
      name: `${name}.nii`,
      buffer: nifti(voxels, this.opened),
      colormap: colours ? "gray" : "warm",
      cal_min: colours ? 0 : 20,
      cal_max: 255,
      opacity,
    });
    if (colours) image.setColormapLabel(colours);
    this.nv.addVolume(image);
    this.layers.push({ name, voxels: image.img as Uint8Array, image, opacity, on: true });
  }

  classTable() {
    return table(this.labels.map((label) => label.colour));
  }

  layer(name: string): Shown | undefined {
    return this.layers.find((layer) => layer.name === name);
  }

  setOpacity(name: string, opacity: number, on: boolean): void {
    const layer = this.layer(name);
    if (!layer) return;
    layer.opacity = opacity;
    layer.on = on;
    this.nv.setOpacity(this.nv.volumes.indexOf(layer.image), on ? opacity : 0);
  }

  window(low: number, high: number): void {
    const image = this.nv.volumes[0];
    if (!image) return;
    image.cal_min = low;
    image.cal_max = high;
    this.nv.updateGLVolume();
  }

  async replaceImage(voxels: Int16Array | Float32Array, low: number, high: number): Promise<void> {
    if (!this.opened) return;
    const image = await NVImage.loadFromUrl({
      url: "image.nii", name: "image.nii", buffer: nifti(voxels, this.opened), colormap: "gray", cal_min: low, cal_max: high,
    });
    const old = this.nv.volumes[0];
    const kept = this.layers.map((layer) => layer.image);
    while (this.nv.volumes.length) this.nv.removeVolumeByIndex(this.nv.volumes.length - 1);
    this.nv.addVolume(image);
    for (const layer of kept) this.nv.addVolume(layer);
    if (old) this.nv.updateGLVolume();
  }

  /** Show another mask; layers of a run that is not shown any more go. */
  replaceMask(mask: Uint8Array): void {
    this.layer("mask")?.voxels.set(mask);
    for (const layer of this.layers.slice(2)) this.nv.removeVolume(layer.image);
    this.layers.length = Math.min(2, this.layers.length);
    this.nv.updateGLVolume();
  }

  /** Take over what a step changed. */
  async apply(change: Change): Promise<void> {
    const shape = this.opened?.shape;
    if (!shape || !change.patches.length) return;
    const strokes = change.patches.filter((patch) => patch.layer !== "mask");
    for (const patch of change.patches) {
      const onto = this.layer(patch.layer === "mask" ? "mask" : "strokes")?.voxels;
      // scribbles come first, so that slices show only where nothing is scribbled
      const beneath = patch.layer === "slices" && strokes.length > 1;
      if (onto && !beneath) await lay(patch, onto, shape, patch.layer === "mask" ? (v) => v : strokeOf);
      if (onto && beneath) {
        const under = onto.slice();
        await lay(patch, under, shape, strokeOf);
        const [i, j, k] = patch.low;
        for (let c = k; c < k + patch.size[2]; c++)
          for (let b = j; b < j + patch.size[1]; b++)
            for (let a = i; a < i + patch.size[0]; a++) {
              const voxel = number(shape, a, b, c);
              if (!onto[voxel]) onto[voxel] = under[voxel] as number;
            }
      }
    }
    this.nv.updateGLVolume();
  }

  setLayout(layout: Layout): void {
    this.nv.setSliceType(SLICES[layout]);
    this.moved();
  }

  /** Where on the page's grid a pointer is; null beside the slices. */
  spot(event: { offsetX: number; offsetY: number }): Spot | null {
    const opened = this.opened;
    const ratio = this.ratio();
    if (!opened) return null;
    const [x, y] = [event.offsetX * ratio, event.offsetY * ratio];
    const tile = this.nv.screenSlices.find(({ leftTopWidthHeight: [l, t, w, h] }) =>
      x >= (l as number) && y >= (t as number) && x <= (l as number) + (w as number) && y <= (t as number) + (h as number));
    if (!tile || tile.axCorSag > SLICE_TYPE.SAGITTAL) return null;
    const frac = this.nv.canvasPos2frac([x, y]);
    if ((frac[0] as number) < 0) return null;
    const axis = ACROSS[tile.axCorSag as 0 | 1 | 2];
    const index = [0, 1, 2].map((n) => (frac[n] as number) * (opened.shape[n] as number) - 0.5) as Place;
    const voxel = index.map((v, n) => Math.min(Math.max(Math.round(v), 0), (opened.shape[n] as number) - 1)) as Place;
    index[axis] = voxel[axis];
    return { index, voxel, axis };
  }

  /** Where the crosshair is. */
  cross(): Place {
    const opened = this.opened;
    if (!opened) return [0, 0, 0];
    return [0, 1, 2].map((n) => {
      const count = opened.shape[n] as number;
      const at = Math.round((this.nv.scene.crosshairPos[n] as number) * count - 0.5);
      return Math.min(Math.max(at, 0), count - 1);
    }) as Place;
  }

  goTo(voxel: Place): void {
    const opened = this.opened;
    if (!opened) return;
    const frac = voxel.map((v, n) => (v + 0.5) / (opened.shape[n] as number));
    this.nv.scene.crosshairPos = frac as unknown as typeof this.nv.scene.crosshairPos;
    this.nv.drawScene();
    this.moved();
  }

  ratio(): number {
    return this.canvas.width / Math.max(1, this.canvas.clientWidth);
  }

  /** The slices on the screen: axis across, and a function from an index to a place on the canvas. */
  tiles(): { axis: 0 | 1 | 2; at: (index: Place) => [number, number] | null; box: number[] }[] {
    const opened = this.opened;
    if (!opened) return [];
    const ratio = this.ratio();
    return this.nv.screenSlices
      .filter((tile) => tile.axCorSag <= SLICE_TYPE.SAGITTAL)
      .map((tile) => {
        const axis = ACROSS[tile.axCorSag as 0 | 1 | 2];
        return {
          axis,
          box: tile.leftTopWidthHeight.map((v) => v / ratio),
          at: (index: Place) => {
            const frac = index.map((v, n) => (v + 0.5) / (opened.shape[n] as number));
            frac[axis] = this.nv.scene.crosshairPos[axis] as number;
            const found = this.nv.frac2canvasPosWithTile(frac as unknown as Parameters<Niivue["frac2canvasPosWithTile"]>[0], tile.axCorSag);
            return found ? [(found.pos[0] as number) / ratio, (found.pos[1] as number) / ratio] : null;
          },
        };
      });
  }

  world(index: Place): Place {
    return toWorld((this.opened as Opened).affine, index);
  }

  index(at: Place): Place {
    return toIndex((this.opened as Opened).affine, at);
  }
}

/** What the layer of strokes shows for a class: nothing, then background, then the labels. */
export function strokeOf(value: number): number {
  return value === UNDRAWN ? 0 : value + 1;
}

/** One layer of strokes: scribbles over slices. */
export function merged(scribbles: Uint8Array, slices: Uint8Array): Uint8Array {
  return scribbles.map((value, voxel) => strokeOf(value === UNDRAWN ? (slices[voxel] as number) : value));
}
