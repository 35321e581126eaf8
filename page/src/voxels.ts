// Voxels on the page's grid: numbers along the first axis first, runs, patches, NIfTI headers.

import type { Opened, Patch, Place, Run } from "./api";

export const UNDRAWN = 255;

export function number(shape: Place, i: number, j: number, k: number): number {
  return i + shape[0] * (j + shape[1] * k);
}

/** Sorted voxel numbers as runs of neighbours. */
export function runsOf(voxels: Iterable<number>): Run[] {
  const sorted = [...voxels].sort((a, b) => a - b);
  const runs: Run[] = [];
  for (const voxel of sorted) {
    const last = runs[runs.length - 1];
    if (last && last[0] + last[1] === voxel) last[1] += 1;
    else if (!last || voxel >= last[0] + last[1]) runs.push([voxel, 1]);
  }
  return runs;
}

export function toWorld(affine: number[][], index: Place): Place {
  const along = (row: number) => {
    const r = affine[row] as number[];
    return (r[0] as number) * index[0] + (r[1] as number) * index[1] + (r[2] as number) * index[2] + (r[3] as number);
  };
  return [along(0), along(1), along(2)];
}

export function toIndex(affine: number[][], at: Place): Place {
  const a = affine as [number[], number[], number[], number[]];
  const m = (i: number, j: number) => (a[i] as number[])[j] as number;
  const det =
    m(0, 0) * (m(1, 1) * m(2, 2) - m(1, 2) * m(2, 1)) -
    m(0, 1) * (m(1, 0) * m(2, 2) - m(1, 2) * m(2, 0)) +
    m(0, 2) * (m(1, 0) * m(2, 1) - m(1, 1) * m(2, 0));
  const b: Place = [at[0] - m(0, 3), at[1] - m(1, 3), at[2] - m(2, 3)];
  const solved = [0, 1, 2].map((column) => {
    const n = (i: number, j: number) => (j === column ? (b[i] as number) : m(i, j));
    return (
      (n(0, 0) * (n(1, 1) * n(2, 2) - n(1, 2) * n(2, 1)) -
        n(0, 1) * (n(1, 0) * n(2, 2) - n(1, 2) * n(2, 0)) +
        n(0, 2) * (n(1, 0) * n(2, 1) - n(1, 1) * n(2, 0))) /
      det
    );
  });
  return solved as Place;
}

/** Lay a patch over voxels. */
export async function lay(patch: Patch, onto: Uint8Array, shape: Place, as = (v: number, _old: number) => v): Promise<void> {
  const packed = Uint8Array.from(atob(patch.voxels), (sign) => sign.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  const part = new Uint8Array(await new Response(stream).arrayBuffer());
  const [ni, nj, nk] = patch.size;
  let from = 0;
  for (let k = 0; k < nk; k++) {
    for (let j = 0; j < nj; j++) {
      const to = number(shape, patch.low[0], patch.low[1] + j, patch.low[2] + k);
      for (let i = 0; i < ni; i++) onto[to + i] = as(part[from++] as number, onto[to + i] as number);
    }
  }
}

const TYPES = { Int16Array: [4, 16], Float32Array: [16, 32], Uint8Array: [2, 8] } as const;

/** A NIfTI-1 file of voxels that fill the field of view of the page's grid. */
export function nifti(voxels: Int16Array | Float32Array | Uint8Array, opened: Opened, shape = opened.shape): ArrayBuffer {
  const wide = shape.map((n, axis) => (opened.shape[axis] as number) / n); // voxels of the grid
  const first = toWorld(opened.affine, wide.map((w) => (w - 1) / 2) as Place);
  const bytes = new Uint8Array(352 + voxels.byteLength);
  const header = new DataView(bytes.buffer);
  const [code, bits] = TYPES[voxels.constructor.name as keyof typeof TYPES];
  header.setInt32(0, 348, true);
  [3, ...shape, 1, 1, 1, 1].forEach((n, place) => header.setInt16(40 + 2 * place, n, true));
  header.setInt16(70, code, true);
  header.setInt16(72, bits, true);
  [1, ...opened.spacing_mm.map((mm, axis) => mm * (wide[axis] as number))].forEach((n, place) => header.setFloat32(76 + 4 * place, n, true));
  header.setFloat32(108, 352, true);
  header.setFloat32(112, 1, true);
  header.setUint8(123, 2);
  header.setInt16(254, 1, true);
  opened.affine.slice(0, 3).forEach((row, line) =>
    row.forEach((n, axis) => header.setFloat32(280 + 16 * line + 4 * axis, axis < 3 ? n * (wide[axis] as number) : (first[line] as number), true)),
  );
  bytes.set([0x6e, 0x2b, 0x31, 0], 344);
  bytes.set(new Uint8Array(voxels.buffer, voxels.byteOffset, voxels.byteLength), 352);
  return bytes.buffer;
}
