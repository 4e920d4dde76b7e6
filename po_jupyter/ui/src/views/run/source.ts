/** Everything that a run's page asks the server, and does there. */

import type { Api } from "../../api/client.js";
import type { Run } from "../../api/types.js";
import type {
  Artifact,
  CallPage,
  CallQuery,
  ComparisonPage,
  ExpectedAnswer,
  PipelineView,
  Row,
  RowPage,
  RowQuery,
  Span,
  Spending,
  StageLog,
  WholeCall
} from "./shapes.js";

/** Questions in a row that the server has no time to answer in whole: each goes on where the one before ended. */
const TRIES = 60;

/** An answer about all rows; of a run that goes on all the time, at the end, what there was time for. */
async function complete<T extends { complete: boolean }>(ask: () => Promise<T>, signal?: AbortSignal): Promise<T> {
  for (let tries = 1; ; tries++) {
    const answer = await ask();
    if (answer.complete || tries >= TRIES) {
      return answer;
    }
    signal?.throwIfAborted();
  }
}

export class RunSource {
  constructor(
    readonly api: Api,
    readonly id: string
  ) {}

  /** Another run, asked over the same connection. */
  beside(id: string): RunSource {
    return new RunSource(this.api, id);
  }

  /** With the whole seed, which may be large. */
  async run(signal?: AbortSignal): Promise<Run & { seed?: { data?: unknown } }> {
    return this.dressed((await this.get<{ run: Run }>("", {}, signal)).run);
  }

  async brief(signal?: AbortSignal): Promise<Run> {
    return this.dressed((await this.get<{ run: Run }>("", { brief: 1 }, signal)).run);
  }

  pipeline(signal?: AbortSignal): Promise<PipelineView> {
    return this.get("/pipeline", {}, signal);
  }

  async timeline(signal?: AbortSignal): Promise<Span[]> {
    return (await this.get<{ spans: Span[] }>("/timeline", {}, signal)).spans;
  }

  spending(signal?: AbortSignal): Promise<Spending> {
    return this.get("/spending", {}, signal);
  }

  rows(query: RowQuery, start: number, limit: number, signal?: AbortSignal): Promise<RowPage> {
    const { task, state, variant, q, sort, desc } = query;
    const asked = { start, limit, state, variant, q, sort: sort === "index" ? "" : sort, desc: desc ? 1 : "" };
    return complete(() => this.get(`/tasks/${encodeURIComponent(task)}/rows`, asked, signal), signal);
  }

  async row(task: string, index: number, signal?: AbortSignal): Promise<Row> {
    const answer = await this.get<Row | { row: Row }>(`/tasks/${encodeURIComponent(task)}/rows/${index}`, {}, signal);
    return "row" in answer ? answer.row : answer;
  }

  async expected(task: string, index: number, signal?: AbortSignal): Promise<ExpectedAnswer[]> {
    const path = `/tasks/${encodeURIComponent(task)}/rows/${index}/expected`;
    return (await this.get<{ expected: ExpectedAnswer[] }>(path, {}, signal)).expected;
  }

  /** This run (A) beside another one (B), row by row. */
  compare(other: string, task: string, all: boolean, start: number, limit: number, signal?: AbortSignal): Promise<ComparisonPage> {
    return complete(() => this.get("/compare", { with: other, task, show: all ? "all" : "", start, limit }, signal), signal);
  }

  calls({ task, row, state }: CallQuery, start: number, limit: number, signal?: AbortSignal): Promise<CallPage> {
    return this.get("/model-calls", { task, row: row ?? "", state, start, limit }, signal);
  }

  async call(n: number, signal?: AbortSignal): Promise<WholeCall> {
    const answer = await this.get<WholeCall | { call: WholeCall }>(`/model-calls/${n}`, {}, signal);
    return "call" in answer ? answer.call : answer;
  }

  async logs(task: string, signal?: AbortSignal): Promise<StageLog[]> {
    return (await this.get<{ logs: StageLog[] }>("/logs", { task }, signal)).logs;
  }

  async output(task: string, signal?: AbortSignal): Promise<unknown> {
    return (await this.get<{ outputs: Record<string, unknown> }>("/outputs", { task }, signal)).outputs[task];
  }

  async artifacts(signal?: AbortSignal): Promise<Artifact[]> {
    return (await this.get<{ artifacts: Artifact[] }>("/artifacts", {}, signal)).artifacts;
  }

  async artifact(name: string, signal?: AbortSignal): Promise<Blob> {
    const path = name.split("/").map(encodeURIComponent).join("/");
    return (await this.api.send(this.path(`/artifacts/${path}`), { signal })).blob();
  }

  /** The outputs of all finished tasks, as the server wrote them. */
  async outputs(signal?: AbortSignal): Promise<Blob> {
    return (await this.api.send(this.path("/outputs"), { signal })).blob();
  }

  async events(since: number, signal?: AbortSignal): Promise<unknown[]> {
    const init = { headers: { Accept: "application/json" }, signal };
    const response = await this.api.send(this.path(`/events?since=${since}&limit=5000`), init);
    return ((await response.json()) as { events: unknown[] }).events;
  }

  private dressed(run: Run): Run {
    return this.api.shared?.dressed(run) ?? run;
  }

  private get<T>(path: string, query: Record<string, string | number>, signal?: AbortSignal): Promise<T> {
    const asked = Object.fromEntries(Object.entries(query).filter(([, value]) => value !== ""));
    return this.api.get<T>(this.path(path), asked, signal);
  }

  private path(rest: string): string {
    return `runs/${encodeURIComponent(this.id)}${rest}`;
  }
}
