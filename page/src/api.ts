// What the server says and takes; the types of src/voxhint/serve/contract.py.

export type Place = [number, number, number];
export type State = "open" | "accepted" | "corrected" | "rejected" | "skipped";
export type Layer = "scribbles" | "slices";
export type Run = [number, number];

export type Mark =
  | { kind: "point"; label: string; at: Place; confidence?: number }
  | { kind: "box"; label: string; low: Place; high: Place }
  | { kind: "diameter"; label: string; centre: Place; diameter_mm: number }
  | { kind: "tag"; label: string; state: "present" | "absent" | "unknown"; z_range?: [number, number] | null };

export interface NumberedMark { id: number; mark: Mark }
export interface Label { name: string; id: number; colour: [number, number, number] }
export interface Row {
  name: string;
  state: State;
  note: string;
  hints: number;
  seconds: number;
  sureness: number | null;
  takes_hints: boolean;
}
export interface Overview { study: string; labels: Label[]; channels: string[]; cases: Row[]; run: string | null }
export interface Channel { name: string; unit: string; low: number; high: number }
export interface Opened {
  name: string;
  shape: Place;
  spacing_mm: Place;
  affine: number[][];
  channels: Channel[];
  layers: string[];
  revision: number;
  marks: NumberedMark[];
  undo: number;
  redo: number;
  row: Row;
}
/** Voxels of an image, or of its preview, which has fewer over the same field of view. */
export interface Picture { voxels: Int16Array | Float32Array; shape: Place }
export interface Patch { layer: "mask" | Layer; low: Place; size: Place; voxels: string }
export interface Change {
  revision: number;
  marks: NumberedMark[];
  patches: Patch[];
  undo: number;
  redo: number;
  row: Row;
  answer_ms: number;
  note: string;
}
export interface Paint { layer: Layer; label: string | null; runs: Run[]; plane?: [number, number] | null }
export interface Edit { add?: Mark[]; remove?: number[]; paint?: Paint; between?: boolean; lock?: string }

export interface Round {
  state: "none" | "running" | "done" | "failed" | "stopped";
  step: string;
  done: number;
  total: number;
  note: string;
  seconds: number;
  left_s: number | null;
}
export interface News { round: Round; masks: number }

const TOKEN = "voxhint-token";

/** The token of the link, kept for reloads of this tab alone. */
export function token(): string {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (given) {
    sessionStorage.setItem(TOKEN, given);
    history.replaceState(null, "", location.pathname);
  }
  return sessionStorage.getItem(TOKEN) ?? "";
}

export class Refused extends Error {
  constructor(readonly code: number, message: string) {
    super(message);
  }
}

async function ask(path: string, method = "GET", body?: unknown): Promise<Response> {
  let answer: Response;
  try {
    answer = await fetch(path, {
      method,
      headers: { "x-voxhint-token": token(), ...(body === undefined ? {} : { "content-type": "application/json" }) },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
  } catch {
    throw new Refused(0, "the server does not answer; start voxhint serve again and reload this page");
  }
  if (!answer.ok) {
    const told = (await answer.json().catch(() => ({}))) as { error?: string };
    throw new Refused(answer.status, told.error ?? `the server answers ${answer.status}`);
  }
  return answer;
}

async function json<T>(path: string, method = "GET", body?: unknown): Promise<T> {
  return (await (await ask(path, method, body)).json()) as T;
}

const at = (name: string) => `api/cases/${encodeURIComponent(name)}`;

export const api = {
  overview: () => json<Overview>("api/session"),
  open: (name: string) => json<Opened>(at(name)),
  edit: (name: string, revision: number, edit: Edit, seconds: number) =>
    json<Change>(`${at(name)}/edits`, "POST", { revision, seconds, ...edit }),
  undo: (name: string, revision: number, seconds: number) =>
    json<Change>(`${at(name)}/undo`, "POST", { revision, seconds }),
  redo: (name: string, revision: number, seconds: number) =>
    json<Change>(`${at(name)}/redo`, "POST", { revision, seconds }),
  judge: (name: string, state: State, note: string, seconds: number) =>
    json<Row>(`${at(name)}/verdict`, "PUT", { state, note, seconds }),
  beginRound: (minutes: number) => json<Round>("api/round", "POST", { minutes }),
  stopRound: () => json<Round>("api/round", "DELETE"),
  /** Hear news until the line breaks; a stream of fetch, because EventSource sends no token. */
  async news(hear: (news: News) => void): Promise<void> {
    const reader = (await ask("api/events")).body?.pipeThrough(new TextDecoderStream()).getReader();
    let held = "";
    for (let part = await reader?.read(); part && !part.done; part = await reader?.read()) {
      const events = (held + part.value).split("\n\n");
      held = events.pop() ?? "";
      for (const event of events) hear(JSON.parse(event.replace(/^data: /, "")) as News);
    }
  },
  acceptAll: (above: number) => json<Row[]>("api/accept", "POST", { above }),
  async image(name: string, number: number, preview = false): Promise<Picture> {
    const answer = await ask(`${at(name)}/images/${number}${preview ? "/preview" : ""}`);
    const data = await answer.arrayBuffer();
    const voxels = answer.headers.get("x-voxhint-type") === "int16" ? new Int16Array(data) : new Float32Array(data);
    return { voxels, shape: (answer.headers.get("x-voxhint-shape") ?? "").split(" ").map(Number) as Place };
  },
  /** The voxels of a layer; null if nothing is there. */
  async layer(name: string, layer: string): Promise<Uint8Array | null> {
    const answer = await ask(`${at(name)}/layers/${encodeURIComponent(layer)}`);
    return answer.status === 204 ? null : new Uint8Array(await answer.arrayBuffer());
  },
};
