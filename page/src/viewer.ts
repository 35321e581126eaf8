// The image and its layers, shown by NiiVue; marks lie on a canvas above it.

import { DRAG_MODE, MULTIPLANAR_TYPE, NVImage, Niivue, SHOW_RENDER, SLICE_TYPE } from "@niivue/niivue";
import type { Change, Label, Opened, Picture, Place } from "./api";
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

interface Shown {
  name: string;
  voxels: Uint8Array;
  /** None of the mask and the strokes, which NiiVue shows as its drawing. */
  image: NVImage | null;
  opacity: number;
  on: boolean;
}

type Colour = [number, number, number];
const DRAWING = 33991; // the texture unit of NiiVue's drawing
const SLOPES = [33990, 33992]; // those of the slopes of an image, by which it can be lit
const FAINT: Colour = [235, 235, 235]; // strokes of background

/** A table of colours from number 0, which is clear. */
function table(colours: Colour[]) {
  const of = (place: 0 | 1 | 2) => colours.map((colour) => colour[place]);
  return { R: of(0), G: of(1), B: of(2), A: colours.map((_, n) => (n ? 255 : 0)), I: colours.map((_, n) => n) };
}

export class Viewer {
  readonly nv: Niivue;
  opened: Opened | null = null;
  layers: Shown[] = [];
  private mine = 0;
  private filled = false; // whether anything of the drawing was shown yet

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
    // slopes are made anew with each change and never used here: one voxel a slice is enough of them
    const texture = this.nv.rgbaTex.bind(this.nv);
    this.nv.rgbaTex = (old, unit, dims, init) =>
      texture(old, unit, SLOPES.includes(unit) ? [3, 1, 1, dims[3] as number] : dims, init);
    this.nv.drawOpacity = 1; // the table of colours has each layer's
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
  async show(opened: Opened, picture: Picture): Promise<boolean> {
    const turn = ++this.mine;
    const first = opened.channels[0];
    const image = await this.image(opened, picture, first?.low ?? 0, first?.high ?? 1);
    if (turn !== this.mine) return false;
    this.opened = opened;
    const empty = () => new Uint8Array(opened.shape[0] * opened.shape[1] * opened.shape[2]);
    this.layers = [
      { name: "mask", voxels: empty(), image: null, opacity: 0.45, on: true },
      { name: "strokes", voxels: empty(), image: null, opacity: 0.75, on: true },
    ];
    this.nv.drawBitmap = this.mask.voxels; // NiiVue asks only whether there is one
    this.nv.drawTexture = this.nv.r8Tex(this.nv.drawTexture, DRAWING, [3, ...opened.shape]);
    this.filled = false;
    this.nv.scene.pan2Dxyzmm = [0, 0, 0, 1];
    this.colour();
    this.put(image);
    return true;
  }

  private async image(opened: Opened, { voxels, shape }: Picture, low: number, high: number): Promise<NVImage> {
    const buffer = nifti(voxels, opened, shape);
    return NVImage.loadFromUrl({ url: "image.nii", name: "image.nii", buffer, colormap: "gray", cal_min: low, cal_max: high });
  }

  /** Put an image beneath the layers, which are made anew once. */
  private put(image: NVImage): void {
    this.nv.volumes = [image, ...this.layers.flatMap((layer) => layer.image ?? [])];
    this.nv.setVolume(image, 0);
  }

  get mask(): Shown {
    return this.layers[0] as Shown;
  }

  get strokes(): Shown {
    return this.layers[1] as Shown;
  }

  /** The byte of strokes of a number: behind those of classes, as far as there is room. */
  private stroke(drawn: number): number {
    const count = this.labels.length;
    return count + ((drawn - 1) % (256 - count));
  }

  /** Give each byte of the drawing its colour and opacity. */
  private colour(): void {
    const lut = new Uint8ClampedArray(4 * 256);
    const set = (place: number, colour: Colour, opacity: number) => lut.set([...colour, 255 * opacity], 4 * place);
    const [mask, strokes] = [this.mask, this.strokes];
    this.labels.forEach(({ colour }, n) => {
      if (n) set(n, colour, mask.on ? mask.opacity : 0);
      set(this.stroke(n + 1), n ? colour : FAINT, n ? strokes.opacity : strokes.opacity / 4);
    });
    this.nv.drawLut = { lut, labels: [] };
    this.nv.refreshColormaps();
  }

  /** Show a box of the mask and of the strokes above it: of the texture, too, only this changes. */
  private mix(low: Place = [0, 0, 0], size: Place | undefined = this.opened?.shape): void {
    const { opened, mask, strokes } = this;
    if (!opened || !size) return;
    const part = new Uint8Array(size[0] * size[1] * size[2]);
    let to = 0;
    for (let k = low[2]; k < low[2] + size[2]; k++)
      for (let j = low[1]; j < low[1] + size[1]; j++) {
        const from = number(opened.shape, low[0], j, k);
        for (let voxel = from; voxel < from + size[0]; voxel++) {
          const drawn = strokes.on ? (strokes.voxels[voxel] as number) : 0;
          part[to++] = drawn ? this.stroke(drawn) : (mask.voxels[voxel] as number);
        }
      }
    this.filled = true;
    const { gl } = this.nv;
    gl.activeTexture(DRAWING);
    gl.bindTexture(gl.TEXTURE_3D, this.nv.drawTexture);
    gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
    gl.texSubImage3D(gl.TEXTURE_3D, 0, ...low, ...size, gl.RED, gl.UNSIGNED_BYTE, part);
  }

  /** Lay a further layer over the image. */
  async add(name: string, voxels: Uint8Array, opacity: number, classes: boolean): Promise<void> {
    if (!this.opened) return;
    const image = await NVImage.loadFromUrl({
      url: `${name}.nii`,
      name: `${name}.nii`,
      buffer: nifti(voxels, this.opened),
      colormap: classes ? "gray" : "warm",
      cal_min: classes ? 0 : 20,
      cal_max: 255,
      opacity,
    });
    if (classes) image.setColormapLabel(table(this.labels.map((label) => label.colour)));
    this.nv.addVolume(image);
    this.layers.push({ name, voxels: image.img as Uint8Array, image, opacity, on: true });
  }

  layer(name: string): Shown | undefined {
    return this.layers.find((layer) => layer.name === name);
  }

  setOpacity(name: string, opacity: number, on: boolean): void {
    const layer = this.layer(name);
    if (!layer) return;
    const turned = layer.on !== on;
    layer.opacity = opacity;
    layer.on = on;
    if (layer.image) return this.nv.setOpacity(this.nv.volumes.indexOf(layer.image), on ? opacity : 0);
    if (turned && name === "strokes") this.mix();
    this.colour();
    this.nv.drawScene();
  }

  window(low: number, high: number): void {
    const image = this.nv.volumes[0];
    if (!image || (image.cal_min === low && image.cal_max === high)) return;
    image.cal_min = low;
    image.cal_max = high;
    this.nv.updateGLVolume();
  }

  /** Show another channel, or the whole of what a preview was shown of. */
  async replaceImage(opened: Opened, picture: Picture, range?: [number, number]): Promise<void> {
    const old = this.nv.volumes[0];
    const [low, high] = range ?? [old?.cal_min ?? 0, old?.cal_max ?? 1];
    const image = await this.image(opened, picture, low, high);
    if (opened === this.opened) this.put(image);
  }

  /** Show another mask, and strokes if they are given; layers of a run that is not shown any more go. */
  replaceMask(mask: Uint8Array | null, strokes?: Uint8Array | null): void {
    for (const [layer, voxels] of [[this.mask, mask], [this.strokes, strokes]] as const) {
      if (voxels) layer.voxels.set(voxels);
      else if (voxels === null) layer.voxels.fill(0);
    }
    const old = this.layers.splice(2);
    if (mask || strokes || this.filled) this.mix();
    for (const layer of old) if (layer.image) this.nv.removeVolume(layer.image);
    this.nv.drawScene();
  }

  /** Take over what a step changed. */
  async apply(change: Change): Promise<void> {
    const shape = this.opened?.shape;
    if (!shape) return;
    const order = { mask: 0, slices: 1, scribbles: 2 }; // scribbles lie over slices
    for (const patch of [...change.patches].sort((a, b) => order[a.layer] - order[b.layer])) {
      if (patch.layer === "mask") await lay(patch, this.mask.voxels, shape);
      else await lay(patch, this.strokes.voxels, shape, (drawn, old) => (patch.layer === "scribbles" && drawn === UNDRAWN ? old : strokeOf(drawn)));
    }
    for (const { low, size } of change.patches) this.mix(low, size);
    if (change.patches.length) this.nv.drawScene();
  }

  setLayout(layout: Layout): void {
    this.nv.setSliceType(SLICES[layout]);
    this.fitCrosshair();
  }

  /** Keep the crosshair as wide on every screen: NiiVue counts its width in hundredths of the image's. */
  fitCrosshair(): void {
    const widths = this.nv.screenSlices.map((tile) => tile.leftTopWidthHeight[2] as number);
    if (widths.length) this.nv.opts.crosshairWidth = (150 * this.ratio()) / Math.min(...widths);
    if (this.nv.crosshairs3D) this.nv.crosshairs3D.mm = [NaN, NaN, NaN]; // it is made anew
    this.nv.drawScene();
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
export function merged(scribbles: Uint8Array | null, slices: Uint8Array | null): Uint8Array | null {
  if (!scribbles || !slices) return (scribbles ?? slices)?.map(strokeOf) ?? null;
  return scribbles.map((drawn, voxel) => strokeOf(drawn === UNDRAWN ? (slices[voxel] as number) : drawn));
}
