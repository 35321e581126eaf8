// The page: the list of cases, the image, the tools, and what a person says of a mask.

import { Refused, api, token } from "./api";
import type { Change, Edit, Label, News, Opened, Overview, Round, Row, State } from "./api";
import { TOOLS, Tools } from "./tools";
import type { Tool } from "./tools";
import { Viewer, merged } from "./viewer";
import type { Layout } from "./viewer";

const IDLE_MS = 30_000; // a longer pause is no work on the case
const WINDOWS: Record<string, [number, number]> = {
  "Soft tissue": [-160, 240],
  Lung: [-1350, 150],
  Bone: [-450, 1050],
  Brain: [0, 80],
  Liver: [-25, 165],
};
const LAYOUTS: Layout[] = ["all", "axial", "coronal", "sagittal", "3D"];
const STATES: Record<State, string> = { open: "", accepted: "✓ accepted", corrected: "✓ corrected", rejected: "✗ rejected", skipped: "→ skipped" };

function get<T extends HTMLElement>(id: string): T {
  return document.getElementById(id) as T;
}

function make<K extends keyof HTMLElementTagNameMap>(kind: K, words = "", name = ""): HTMLElementTagNameMap[K] {
  const made = document.createElement(kind);
  made.textContent = words;
  if (name) made.className = name;
  return made;
}

class App {
  overview!: Overview;
  viewer!: Viewer;
  tools!: Tools;
  opened: Opened | null = null;
  current = 1;
  tool: Tool = "point";
  layout: Layout = "all";
  shownWindow = "";
  private queue: Promise<unknown> = Promise.resolve();
  private last = performance.now();
  private spent = 0;
  private touched = false;

  async start(): Promise<void> {
    if (!token()) throw new Refused(401, "no token; open the link that voxhint printed");
    this.overview = await api.overview();
    get("study").textContent = this.overview.study;
    document.title = `${this.overview.study} · voxhint`;
    this.current = this.overview.labels.length > 1 ? 1 : 0;
    const canvas = get<HTMLCanvasElement>("view");
    this.viewer = new Viewer(canvas, this.overview.labels, () => this.moved());
    this.tools = new Tools(
      {
        viewer: this.viewer,
        labels: this.overview.labels,
        tool: () => this.tool,
        label: () => this.current,
        brush: () => Number(get<HTMLInputElement>("brush").value),
        marks: () => this.opened?.marks ?? [],
        takesHints: () => this.opened?.row.takes_hints ?? false,
        edit: (edit) => this.edit(edit),
        choose: (label) => this.choose(label),
        tell: (words, bad) => this.tell(words, bad),
      },
      get("stage"),
      get<HTMLCanvasElement>("marks"),
    );
    this.buildTools();
    this.buildLabels();
    this.buildKeys();
    this.listen();
    this.list();
    await this.viewer.attach();
    new ResizeObserver(() => setTimeout(() => this.viewer.fitCrosshair(), 50)).observe(canvas);
    void this.hear();
    const first = this.sorted()[0];
    if (first) await this.open(first.name);
  }

  tell(words: string, bad = false): void {
    const status = get("status");
    status.textContent = words;
    status.className = bad ? "bad" : "";
  }

  private busy(words: string | null): void {
    const over = get("busy");
    over.hidden = words === null;
    over.textContent = words ?? "";
  }

  // ---- time ----
  private tick(): void {
    const now = performance.now();
    if (now - this.last < IDLE_MS) this.spent += now - this.last;
    this.last = now;
  }

  private take(): number {
    this.tick();
    const seconds = Math.min(3600, Math.round(this.spent) / 1000);
    this.spent = 0;
    return seconds;
  }

  // ---- cases ----
  private sorted(): Row[] {
    const by = get<HTMLSelectElement>("sort").value;
    const find = get<HTMLInputElement>("find").value.toLowerCase();
    const rows = this.overview.cases.filter((row) => row.name.toLowerCase().includes(find));
    const names = new Intl.Collator(undefined, { numeric: true });
    const need = (row: Row) => (row.state === "open" ? 0 : 10) + (row.takes_hints ? 0 : 1) + (row.sureness ?? 0.5);
    const order: Record<string, (a: Row, b: Row) => number> = {
      need: (a, b) => need(a) - need(b),
      name: () => 0,
      hints: (a, b) => a.hints - b.hints,
      time: (a, b) => b.seconds - a.seconds,
    };
    return rows.sort((a, b) => (order[by]?.(a, b) ?? 0) || names.compare(a.name, b.name));
  }

  private list(): void {
    const rows = this.sorted().map((row) => {
      const item = make("li");
      item.dataset["name"] = row.name;
      item.tabIndex = 0;
      item.setAttribute("aria-current", String(row.name === this.opened?.name));
      item.append(make("span", row.name, "name"));
      const parts = [
        `${row.hints} hint${row.hints === 1 ? "" : "s"}`,
        row.seconds >= 60 ? `${(row.seconds / 60).toFixed(1)} min` : `${Math.round(row.seconds)} s`,
        ...(row.sureness === null ? [] : [`sure ${(100 * row.sureness).toFixed(0)} %`]),
        ...(row.takes_hints ? [] : ["test"]),
      ];
      const small = make("small", parts.join(" · "));
      if (row.state !== "open") small.append(" ", make("span", STATES[row.state], `state-${row.state}`));
      item.append(small);
      return item;
    });
    get("list").replaceChildren(...rows);
    const done = this.overview.cases.filter((row) => row.state !== "open").length;
    get("progress").textContent = `${done} of ${this.overview.cases.length} judged`;
  }

  private put(row: Row): void {
    const place = this.overview.cases.findIndex((other) => other.name === row.name);
    if (place >= 0) this.overview.cases[place] = row;
    if (this.opened && this.opened.name === row.name) this.opened.row = row;
    this.list();
  }

  async open(name: string): Promise<void> {
    if (this.opened) this.take();
    this.touched = false;
    this.busy(`Opening ${name} …`);
    try {
      const began = performance.now();
      const opened = await api.open(name);
      const preview = await api.image(name, 0, true);
      if (!(await this.viewer.show(opened, preview))) return;
      this.opened = opened;
      get("case-name").textContent = name;
      get<HTMLTextAreaElement>("note").value = opened.row.note;
      this.buildChannels();
      this.buildWindows();
      this.buildLayers();
      this.viewer.setLayout(this.layout);
      const first = opened.marks.find(({ mark }) => mark.kind !== "tag")?.mark;
      const at = first?.kind === "point" ? first.at : first?.kind === "diameter" ? first.centre : null;
      this.viewer.goTo(at ? (this.viewer.index(at).map(Math.round) as [number, number, number]) : (opened.shape.map((n) => Math.floor(n / 2)) as [number, number, number]));
      this.refresh();
      this.put(opened.row);
      const since = () => `${((performance.now() - began) / 1000).toFixed(1)} s`;
      this.tell(`First picture after ${since()}; the mask is being made …`);
      document.body.dataset["picture"] = String((performance.now() - began) / 1000);
      this.queue = this.queue.then(() => this.showMask(opened, since));
      if (preview.voxels.length < opened.shape[0] * opened.shape[1] * opened.shape[2]) this.queue.then(() => this.showWhole(opened));
      else document.body.dataset["whole"] = name;
      this.take();
    } catch (error) {
      this.fail(error);
    } finally {
      this.busy(null);
    }
  }

  /** The mask comes after the picture: a model may have to look at the case first. Steps wait for it. */
  private async showMask(opened: Opened, since: () => string): Promise<void> {
    try {
      const [mask, scribbles, slices] = await Promise.all([
        api.layer(opened.name, "mask"),
        api.layer(opened.name, "scribbles"),
        api.layer(opened.name, "slices"),
      ]);
      const { row } = await api.open(opened.name);
      if (this.opened !== opened) return;
      this.viewer.replaceMask(mask, merged(scribbles, slices));
      this.put(row);
      this.tell(`Opened in ${since()}`);
      document.body.dataset["ready"] = opened.name;
      this.readAhead();
    } catch (error) {
      this.fail(error);
    }
  }

  /** Let the server read the case that most likely comes next. */
  private readAhead(): void {
    const next = this.sorted().find((row) => row.state === "open" && row.name !== this.opened?.name);
    if (next) void api.open(next.name).catch(() => undefined);
  }

  /** The whole image comes last, where there are so many voxels that a preview was shown first. */
  private async showWhole(opened: Opened): Promise<void> {
    const number = this.channel();
    try {
      const picture = await api.image(opened.name, number);
      if (this.opened !== opened || this.channel() !== number) return;
      await this.viewer.replaceImage(opened, picture);
      document.body.dataset["whole"] = opened.name;
    } catch (error) {
      this.fail(error);
    }
  }

  private fail(error: unknown): void {
    this.tell(error instanceof Error ? error.message : String(error), true);
    if (!(error instanceof Refused)) console.error(error);
  }

  // ---- hints ----
  edit(edit: Edit): void {
    this.send((opened) => api.edit(opened.name, opened.revision, edit, this.take()));
  }

  private step(which: "undo" | "redo"): void {
    const opened = this.opened;
    if (!opened || !opened[which]) return;
    this.send((now) => api[which](now.name, now.revision, this.take()));
  }

  /** Steps go one after another: each needs the revision of the one before. */
  private send(ask: (opened: Opened) => Promise<Change>): void {
    this.queue = this.queue.then(async () => {
      const opened = this.opened;
      if (!opened) return;
      const began = performance.now();
      const slow = setTimeout(() => this.tell("The mask is being changed …"), 400);
      try {
        const change = await ask(opened);
        clearTimeout(slow);
        Object.assign(opened, { revision: change.revision, marks: change.marks, undo: change.undo, redo: change.redo });
        this.touched = true;
        await this.viewer.apply(change);
        this.put(change.row);
        this.refresh();
        const took = (performance.now() - began) / 1000;
        this.tell(`Mask changed in ${took.toFixed(2)} s${change.note ? `; ${change.note}` : ""}`);
        document.body.dataset["answers"] = String(Number(document.body.dataset["answers"] ?? 0) + 1);
      } catch (error) {
        clearTimeout(slow);
        if (error instanceof Refused && error.code === 409) await this.open(opened.name);
        this.fail(error);
      }
    });
  }

  private lock(label: number): void {
    const found = this.overview.labels[label];
    if (found && label) this.edit({ lock: found.name });
  }

  choose(label: number): void {
    if (label >= this.overview.labels.length) return;
    this.current = label;
    this.buildLabels();
  }

  private pickTool(tool: Tool): void {
    this.tool = tool;
    this.tools.cancel();
    for (const button of get("tools").children) button.setAttribute("aria-pressed", String((button as HTMLElement).dataset["tool"] === tool));
    get("view").style.cursor = tool === "look" ? "default" : "crosshair";
  }

  // ---- verdicts ----
  private async judge(state: State): Promise<void> {
    const opened = this.opened;
    if (!opened) return;
    await this.queue;
    const said = state === "accepted" && this.touched ? "corrected" : state;
    try {
      this.put(await api.judge(opened.name, said, get<HTMLTextAreaElement>("note").value, this.take()));
      this.tell(`${opened.name}: ${said}`);
      const next = this.sorted().find((row) => row.state === "open" && row.name !== opened.name);
      if (next) await this.open(next.name);
      else this.tell("Every case is judged");
    } catch (error) {
      this.fail(error);
    }
  }

  private go(by: number): void {
    const rows = this.sorted();
    const place = rows.findIndex((row) => row.name === this.opened?.name);
    const next = rows[place + by];
    if (next) void this.open(next.name);
  }

  // ---- rounds ----
  private async hear(): Promise<void> {
    let masks = -1;
    const each = (news: News) => {
      this.showRound(news.round);
      if (masks >= 0 && news.masks !== masks) this.renew();
      masks = news.masks;
    };
    for (;;) {
      await api.news(each).catch(() => undefined);
      await new Promise((wake) => setTimeout(wake, 2000));
    }
  }

  private showRound(round: Round): void {
    const running = round.state === "running";
    get("again").textContent = running ? "Stop the round" : "Round again";
    get<HTMLSelectElement>("minutes").disabled = running;
    const bar = get<HTMLProgressElement>("round-bar");
    bar.hidden = !running;
    if (round.total) bar.value = round.done / round.total;
    else bar.removeAttribute("value");
    const time = (s: number) => (s < 90 ? `${Math.round(s)} s` : `${Math.round(s / 60)} min`);
    const left = round.left_s === null ? "" : `, ${time(round.left_s)} left`;
    const words = {
      none: "",
      running: `${round.step}: ${round.done} of ${round.total}${left}`,
      done: `New masks came in after ${time(round.seconds)}`,
      failed: `The round failed: ${round.note}`,
      stopped: "The round was stopped",
    };
    get("round-state").textContent = words[round.state];
    document.body.dataset["round"] = round.state;
  }

  private async round(): Promise<void> {
    try {
      const running = document.body.dataset["round"] === "running";
      this.showRound(running ? await api.stopRound() : await api.beginRound(Number(get<HTMLSelectElement>("minutes").value)));
    } catch (error) {
      this.fail(error);
    }
  }

  /** New masks came in: the list and the mask of the open case follow; what was made stays. */
  private renew(): void {
    this.queue = this.queue.then(async () => {
      try {
        this.overview = await api.overview();
        const opened = this.opened;
        if (opened) {
          const [now, mask] = await Promise.all([api.open(opened.name), api.layer(opened.name, "mask")]);
          if (this.opened !== opened) return;
          Object.assign(opened, now);
          this.viewer.replaceMask(mask);
          this.buildLayers();
          this.refresh();
        }
        this.list();
        document.body.dataset["renewed"] = String(Number(document.body.dataset["renewed"] ?? 0) + 1);
      } catch (error) {
        this.fail(error);
      }
    });
  }

  // ---- what is shown ----
  private moved(): void {
    this.tools?.draw();
    const opened = this.opened;
    if (!opened) return;
    const voxel = this.viewer.cross();
    const [x, y, z] = this.viewer.world(voxel);
    const side = (v: number, plus: string, minus: string) => `${Math.abs(v).toFixed(1)} ${v >= 0 ? plus : minus}`;
    get("place").textContent = `${side(x, "R", "L")}  ${side(y, "A", "P")}  ${side(z, "S", "I")} mm   voxel ${voxel.join(", ")}`;
  }

  private refresh(): void {
    const opened = this.opened;
    if (!opened) return;
    get<HTMLButtonElement>("undo").disabled = !opened.undo;
    get<HTMLButtonElement>("redo").disabled = !opened.redo;
    this.tools.draw();
    const rows = opened.marks.map(({ id, mark }) => {
      const item = make("li");
      const swatch = make("span", "", "swatch");
      swatch.style.background = this.css(mark.label);
      const what = mark.kind === "diameter" ? `diameter ${mark.diameter_mm.toFixed(1)} mm` : mark.kind === "tag" ? mark.state : mark.kind;
      const name = make("button", `${mark.label}: ${what}`, "name");
      name.addEventListener("click", () => {
        const at = mark.kind === "point" ? mark.at : mark.kind === "diameter" ? mark.centre : mark.kind === "box" ? (mark.low.map((v, n) => (v + (mark.high[n] as number)) / 2) as [number, number, number]) : null;
        if (at) this.viewer.goTo(this.viewer.index(at).map(Math.round) as [number, number, number]);
      });
      const remove = make("button", "×");
      remove.title = "Remove this hint";
      remove.addEventListener("click", () => this.edit({ remove: [id] }));
      item.append(swatch, name, remove);
      return item;
    });
    get("hints").replaceChildren(...rows);
    get("hint-count").textContent = String(opened.row.hints);
    this.buildTags();
  }

  private css(label: string): string {
    const found = this.overview.labels.find((one) => one.name === label);
    const [r, g, b] = found && found.id ? found.colour : [60, 60, 60];
    return `rgb(${r} ${g} ${b})`;
  }

  private buildLabels(): void {
    const rows = this.overview.labels.map((label: Label, n) => {
      const item = make("li");
      item.tabIndex = 0;
      item.setAttribute("aria-selected", String(n === this.current));
      const swatch = make("span", "", "swatch");
      swatch.style.background = this.css(label.name);
      item.append(swatch, make("span", label.name, "name"));
      if (n) {
        const lock = make("button", "Lock");
        lock.title = `Take what the mask shows of ${label.name} as drawn: later hints leave it alone; undo lets go (L)`;
        lock.addEventListener("click", (event) => {
          event.stopPropagation();
          this.lock(n);
        });
        item.append(lock);
      }
      if (n < 10) item.append(make("kbd", String(n)));
      item.addEventListener("click", () => this.choose(n));
      item.addEventListener("keydown", (event) => event.key === "Enter" && this.choose(n));
      return item;
    });
    get("labels").replaceChildren(...rows);
  }

  private buildTools(): void {
    const buttons = TOOLS.map(([tool, words, key]) => {
      const button = make("button", words);
      button.dataset["tool"] = tool;
      button.title = `${words} (${key.toUpperCase()})`;
      button.addEventListener("click", () => this.pickTool(tool));
      return button;
    });
    const between = make("button", "Between");
    between.title = "Fill in between the filled slices (G)";
    between.addEventListener("click", () => this.edit({ between: true }));
    get("tools").replaceChildren(...buttons, between);
    this.pickTool(this.tool);
    const layouts = LAYOUTS.map((layout) => {
      const button = make("button", layout === "all" ? "All" : layout === "3D" ? "3D" : layout[0]?.toUpperCase() + layout.slice(1));
      button.dataset["layout"] = layout;
      button.addEventListener("click", () => this.pickLayout(layout));
      return button;
    });
    get("layouts").replaceChildren(...layouts);
    this.pickLayout(this.layout, false);
  }

  private pickLayout(layout: Layout, show = true): void {
    this.layout = layout;
    for (const button of get("layouts").children) button.setAttribute("aria-pressed", String((button as HTMLElement).dataset["layout"] === layout));
    if (show) this.viewer.setLayout(layout);
  }

  private channel(): number {
    return Number(get<HTMLSelectElement>("channel").value || 0);
  }

  private buildChannels(): void {
    const opened = this.opened as Opened;
    const select = get<HTMLSelectElement>("channel");
    select.replaceChildren(...opened.channels.map((channel, n) => {
      const option = make("option", channel.name);
      option.value = String(n);
      return option;
    }));
    get("channel-row").hidden = opened.channels.length < 2;
  }

  private windows(): [string, [number, number]][] {
    const channel = this.opened?.channels[this.channel()];
    if (!channel) return [];
    const own: [string, [number, number]] = ["Automatic", [channel.low, channel.high]];
    return channel.unit === "HU" ? Object.entries(WINDOWS) : [own, ["Wide", [channel.low - (channel.high - channel.low) / 2, channel.high + (channel.high - channel.low) / 2]], ["Narrow", [channel.low + (channel.high - channel.low) / 4, channel.high - (channel.high - channel.low) / 4]]];
  }

  /** The values between which the image is shown. */
  private range(): [number, number] {
    return this.windows().find(([name]) => name === this.shownWindow)?.[1] ?? [0, 1];
  }

  private buildWindows(show = true): void {
    const buttons = this.windows().map(([name, [low, high]]) => {
      const button = make("button", name);
      button.title = `${low.toFixed(0)} to ${high.toFixed(0)}`;
      button.addEventListener("click", () => this.pickWindow(name));
      return button;
    });
    get("windows").replaceChildren(...buttons);
    const known = this.windows().some(([name]) => name === this.shownWindow);
    this.pickWindow(known ? this.shownWindow : (this.windows()[0]?.[0] ?? ""), show);
  }

  private pickWindow(name: string, show = true): void {
    const found = this.windows().find(([one]) => one === name);
    if (!found) return;
    this.shownWindow = name;
    for (const button of get("windows").children) button.setAttribute("aria-pressed", String(button.textContent === name));
    if (show) this.viewer.window(...found[1]);
  }

  private buildLayers(): void {
    const opened = this.opened as Opened;
    const names = ["mask", "strokes", ...opened.layers];
    const rows = names.map((name) => {
      const row = make("label", "", "row");
      const on = make("input");
      on.type = "checkbox";
      on.checked = Boolean(this.viewer.layer(name)?.on);
      const slider = make("input");
      Object.assign(slider, { type: "range", min: "0", max: "1", step: "0.05", value: String(this.viewer.layer(name)?.opacity ?? 0.5) });
      slider.setAttribute("aria-label", `Opacity of ${name}`);
      const show = async () => {
        if (on.checked && !this.viewer.layer(name)) {
          try {
            const voxels = (await api.layer(opened.name, name)) ?? new Uint8Array(this.viewer.mask.voxels.length);
            await this.viewer.add(name, voxels, Number(slider.value), ["truth", "run"].includes(name));
          } catch (error) {
            on.checked = false;
            this.fail(error);
          }
        }
        this.viewer.setOpacity(name, Number(slider.value), on.checked);
      };
      on.addEventListener("change", () => void show());
      slider.addEventListener("input", () => void show());
      row.append(on, make("span", name, "name"), slider);
      row.dataset["layer"] = name;
      row.title = name;
      return row;
    });
    get("layers").replaceChildren(...rows);
  }

  private buildTags(): void {
    const opened = this.opened as Opened;
    const rows = this.overview.labels.slice(1).map((label) => {
      const row = make("label", "", "row");
      const select = make("select");
      const found = opened.marks.find(({ mark }) => mark.kind === "tag" && mark.label === label.name && !mark.z_range);
      const state = found?.mark.kind === "tag" ? found.mark.state : "";
      for (const [value, words] of [["", "not said"], ["present", "present"], ["absent", "absent"], ["unknown", "unknown"]] as const) {
        const option = make("option", words);
        option.value = value;
        option.selected = value === state;
        select.append(option);
      }
      select.disabled = !opened.row.takes_hints;
      select.addEventListener("change", () => {
        const value = select.value as "" | "present" | "absent" | "unknown";
        this.edit({ remove: found ? [found.id] : [], add: value ? [{ kind: "tag", label: label.name, state: value }] : [] });
      });
      row.append(make("span", label.name, "name"), select);
      return row;
    });
    get("tags").replaceChildren(...rows);
  }

  // ---- keys ----
  private keys(): [string, string, () => void][] {
    const toggle = (name: string) => {
      const box = get("layers").querySelector<HTMLInputElement>(`[data-layer="${name}"] input`);
      box?.click();
    };
    const move = (i: number, j: number, k: number) => () => {
      const [a, b, c] = this.viewer.cross();
      const shape = (this.opened as Opened).shape;
      this.viewer.goTo([a + i, b + j, c + k].map((v, n) => Math.min(Math.max(v, 0), (shape[n] as number) - 1)) as [number, number, number]);
    };
    const brush = (by: number) => () => {
      const input = get<HTMLInputElement>("brush");
      input.value = String(Number(input.value) + by);
      input.dispatchEvent(new Event("input"));
    };
    const cycle = () => this.pickLayout(LAYOUTS[(LAYOUTS.indexOf(this.layout) + 1) % LAYOUTS.length] as Layout);
    const windowed = () => {
      const names = this.windows().map(([name]) => name);
      this.pickWindow(names[(names.indexOf(this.shownWindow) + 1) % names.length] as string);
    };
    return [
      ["Space", "Accept the mask and go on", () => void this.judge("accepted")],
      ["x", "Reject it and go on", () => void this.judge("rejected")],
      ["s", "Skip the case", () => void this.judge("skipped")],
      ["n", "Next case", () => this.go(1)],
      ["N", "Case before", () => this.go(-1)],
      ["Ctrl+z", "Undo", () => this.step("undo")],
      ["Ctrl+y", "Redo", () => this.step("redo")],
      ...TOOLS.map(([tool, words, key]): [string, string, () => void] => [key, words, () => this.pickTool(tool)]),
      ["g", "Fill in between the filled slices", () => this.edit({ between: true })],
      ["l", "Lock the label as the mask shows it", () => this.lock(this.current)],
      ["Enter", "Set the hint at the crosshair", () => this.tools.enter()],
      ["Escape", "Drop the stroke in hand", () => this.tools.cancel()],
      ["[", "Smaller brush", brush(-2)],
      ["]", "Larger brush", brush(2)],
      ["ArrowLeft", "Crosshair to the left of the screen", move(1, 0, 0)],
      ["ArrowRight", "Crosshair to the right of the screen", move(-1, 0, 0)],
      ["ArrowUp", "Crosshair to the front", move(0, 1, 0)],
      ["ArrowDown", "Crosshair to the back", move(0, -1, 0)],
      ["PageUp", "Slice up", move(0, 0, 1)],
      ["PageDown", "Slice down", move(0, 0, -1)],
      ["c", "Next layout", cycle],
      ["i", "Next window", windowed],
      ["m", "Mask on and off", () => toggle("mask")],
      ["t", "Truth on and off", () => toggle("truth")],
      ["?", "This list", () => get<HTMLDialogElement>("keys").showModal()],
    ];
  }

  private buildKeys(): void {
    const rows = [["0 to 9", "Label; 0 is background"], ...this.keys().map(([key, words]) => [key, words]), ["Ctrl with a tool", "Erase instead"], ["Alt with a click", "Choose the label that the mask shows there"], ["Shift with a drag", "Move the image"], ["Right drag", "Window"], ["Wheel", "Slices; with Ctrl: zoom"]];
    get("key-table").replaceChildren(...rows.map(([key, words]) => {
      const row = make("tr");
      const cell = make("td");
      cell.append(make("kbd", key));
      row.append(cell, make("td", words));
      return row;
    }));
  }

  private pressed(event: KeyboardEvent): void {
    this.tick();
    const target = event.target as HTMLElement;
    const writes = target.matches("textarea, select, input:not([type=checkbox]):not([type=range])");
    if (writes || get<HTMLDialogElement>("keys").open) {
      if (event.key === "Escape") target.blur();
      return;
    }
    if (target.matches("button, li, input") && (event.key === "Enter" || event.key === " ") && target !== document.body) {
      if (target.closest("#list") && target.dataset["name"]) void this.open(target.dataset["name"]);
      if (event.key === "Enter" || !target.matches("button")) return;
      return;
    }
    const ctrl = event.ctrlKey || event.metaKey;
    if (ctrl && event.shiftKey && event.key.toLowerCase() === "z") return this.run(event, () => this.step("redo"));
    if (!ctrl && /^[0-9]$/.test(event.key)) return this.run(event, () => this.choose(Number(event.key)));
    const name = `${ctrl ? "Ctrl+" : ""}${event.key === " " ? "Space" : event.key}`;
    const found = this.keys().find(([key]) => key === name) ?? this.keys().find(([key]) => key === name.toLowerCase() && !event.shiftKey);
    if (found) this.run(event, found[2]);
  }

  private run(event: Event, act: () => void): void {
    event.preventDefault();
    event.stopPropagation();
    act();
  }

  private listen(): void {
    window.addEventListener("keydown", (event) => this.pressed(event), { capture: true });
    for (const kind of ["pointerdown", "pointermove", "wheel"]) window.addEventListener(kind, () => this.tick(), { capture: true, passive: true });
    get("undo").addEventListener("click", () => this.step("undo"));
    get("redo").addEventListener("click", () => this.step("redo"));
    get("help").addEventListener("click", () => get<HTMLDialogElement>("keys").showModal());
    get("accept").addEventListener("click", () => void this.judge("accepted"));
    get("reject").addEventListener("click", () => void this.judge("rejected"));
    get("skip").addEventListener("click", () => void this.judge("skipped"));
    get("find").addEventListener("input", () => this.list());
    get("sort").addEventListener("change", () => this.list());
    get("list").addEventListener("click", (event) => {
      const name = (event.target as HTMLElement).closest("li")?.dataset["name"];
      if (name) void this.open(name);
    });
    get("brush").addEventListener("input", () => (get("brush-size").textContent = get<HTMLInputElement>("brush").value));
    get("channel").addEventListener("change", () => void this.changeChannel());
    get("again").addEventListener("click", () => void this.round());
    get("accept-all").addEventListener("click", () => void this.acceptAll());
    get("view").addEventListener("wheel", (event) => this.wheel(event), { capture: true, passive: false });
    get("view").addEventListener("wheel", () => setTimeout(() => this.moved(), 0));
    get("view").addEventListener("mousemove", () => this.tools.draw());
  }

  private wheel(event: WheelEvent): void {
    if (!event.ctrlKey) return;
    event.preventDefault();
    event.stopPropagation();
    const pan = this.viewer.nv.scene.pan2Dxyzmm;
    const zoom = Math.min(Math.max((pan[3] as number) * (event.deltaY < 0 ? 1.15 : 1 / 1.15), 0.5), 20);
    const [x, y, z] = this.viewer.world(this.viewer.cross());
    // the crosshair stays where it is on the screen
    const centre = this.viewer.world((this.opened as Opened).shape.map((n) => (n - 1) / 2) as [number, number, number]);
    const shift = (at: number, middle: number) => (zoom > 1 ? (middle - at) * (1 - 1 / zoom) : 0);
    this.viewer.nv.scene.pan2Dxyzmm = [shift(x, centre[0]), shift(y, centre[1]), shift(z, centre[2]), zoom];
    this.viewer.nv.drawScene();
    this.moved();
  }

  private async changeChannel(): Promise<void> {
    const opened = this.opened;
    if (!opened) return;
    try {
      this.buildWindows(false);
      await this.viewer.replaceImage(opened, await api.image(opened.name, this.channel()), this.range());
    } catch (error) {
      this.fail(error);
    }
  }

  private async acceptAll(): Promise<void> {
    const above = Number(get<HTMLInputElement>("above").value);
    try {
      const rows = await api.acceptAll(above);
      for (const row of rows) this.put(row);
      this.tell(`${rows.length} accepted`);
    } catch (error) {
      this.fail(error);
    }
  }
}

const app = new App();
app.start().catch((error: unknown) => {
  const over = get("busy");
  over.hidden = false;
  over.textContent = error instanceof Error ? error.message : String(error);
});
