/** Everything that a run's page asks the server, and does there. */

import type { Run } from "../../api/types.js";
import type {
  Artifact,
  CallPage,
  CallQuery,
  PipelineView,
  Row,
  RowPage,
  RowQuery,
  Span,
  Spending,
  StageLog,
  WholeCall
} from "./shapes.js";

/** Sends a request to a path below `po/api/v1/`; refusals are thrown as `ApiError`. */
export type Send = (path: string, init: RequestInit) => Promise<Response>;

export class RunSource {
  constructor(
    private readonly send: Send,
    readonly id: string
  ) {}

  async run(signal?: AbortSignal): Promise<Run & { seed?: { data?: unknown } }> {
    return (await this.get<{ run: Run }>("", {}, signal)).run;
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
    const { task, state, q, sort, desc } = query;
    const asked = { start, limit, state, q, sort: sort === "index" ? "" : sort, desc: desc ? 1 : "" };
    return this.get(`/tasks/${encodeURIComponent(task)}/rows`, asked, signal);
  }

  async row(task: string, index: number, signal?: AbortSignal): Promise<Row> {
    const answer = await this.get<Row | { row: Row }>(`/tasks/${encodeURIComponent(task)}/rows/${index}`, {}, signal);
    return "row" in answer ? answer.row : answer;
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

  async artifact(name: string): Promise<Blob> {
    const path = name.split("/").map(encodeURIComponent).join("/");
    return (await this.send(this.path(`/artifacts/${path}`), {})).blob();
  }

  /** The outputs of all finished tasks, as the server wrote them. */
  async outputs(): Promise<Blob> {
    return (await this.send(this.path("/outputs"), {})).blob();
  }

  async events(since: number): Promise<unknown[]> {
    const init = { headers: { Accept: "application/json" } };
    const response = await this.send(this.path(`/events?since=${since}&limit=5000`), init);
    return ((await response.json()) as { events: unknown[] }).events;
  }

  cancel(): Promise<Run> {
    return this.post("cancel", {});
  }

  resume(body: { only_failed?: boolean; budget?: { usd?: number; tokens?: number } }): Promise<Run> {
    return this.post("resume", body);
  }

  restart(body: { task?: string }): Promise<Run> {
    return this.post("restart", body);
  }

  fork(body: { from_task: string; pipeline?: object }): Promise<Run> {
    return this.post("fork", body);
  }

  decide(decision: "approve" | "reject", note: string): Promise<Run> {
    return this.post("gate", note ? { decision, note } : { decision });
  }

  requeue(): Promise<Run> {
    return this.post("requeue", {}, "dead-letters");
  }

  /** For good, with everything that it made. */
  async remove(): Promise<void> {
    await this.send(this.path(""), { method: "DELETE" });
  }

  private async post(verb: string, body: object, of = "runs"): Promise<Run> {
    const path = `${of}/${encodeURIComponent(this.id)}/${verb}`;
    const response = await this.send(path, { method: "POST", body: JSON.stringify(body) });
    return ((await response.json()) as { run: Run }).run;
  }

  private async get<T>(path: string, query: Record<string, string | number>, signal?: AbortSignal): Promise<T> {
    const asked = Object.entries(query).filter(([, value]) => value !== "");
    const search = new URLSearchParams(asked.map(([name, value]) => [name, String(value)])).toString();
    const response = await this.send(this.path(path) + (search ? `?${search}` : ""), signal ? { signal } : {});
    return (await response.json()) as T;
  }

  private path(rest: string): string {
    return `runs/${encodeURIComponent(this.id)}${rest}`;
  }
}
