/** The orchestrator's HTTP, spoken with Jupyter's own credentials (token, cookie and XSRF alike). */

import { URLExt } from "@jupyterlab/coreutils";
import { ServerConnection } from "@jupyterlab/services";
import type {
  Analysis, AuditEntry, CleanReport, DailyUsage, DeadLetter, Estimate, Meta, Model, PipelineSummary, Row, Schedule, Waits
} from "./answers.js";
import { ApiError, refusal, unreachable } from "./errors.js";
import { idOf, SharedRuns } from "./shared.js";
import { StartKey } from "./startKey.js";
import type { components, operations } from "./schema.js";
import type { Budget, Run } from "./types.js";

export { ApiError, explain } from "./errors.js";

type Body<Name extends keyof components["schemas"]> = Partial<components["schemas"][Name]>;
type Query = Readonly<Record<string, string | number | boolean | undefined>>;

export class Api {
  constructor(private readonly settings: ServerConnection.ISettings) {}

  /** Where the interface is, for links. */
  get url(): string {
    return URLExt.join(this.settings.baseUrl, "po/api/v1/");
  }

  /** The stream of all my runs. It is no activity: a panel that is left open must not keep a server alive. */
  events(signal: AbortSignal): Promise<Response> {
    return this.send("events?no_track_activity=1", { signal, headers: { Accept: "text/event-stream" } });
  }

  // -- runs ---------------------------------------------------------------------------------------

  /** My runs, the newest first, without their seeds; `next` is the cursor of the page after this one. */
  async runs(query: Query = {}): Promise<{ runs: Run[]; next: string | null }> {
    const page = await this.get<{ runs: Run[]; next: string | null }>("runs", { brief: 1, ...query });
    return { ...page, runs: page.runs.filter(run => !this.shared.has(run.id)) };
  }

  /** The shared runs of the hub that one sees; null where there is no such service. */
  async sharedRuns(): Promise<Run[] | null> {
    this.hasShared ??= this.meta().then(meta => !!meta.hub?.shared_runs);
    try {
      this.shared.isThere = await this.hasShared;
      if (!this.shared.isThere) {
        return null;
      }
    } catch (error) {
      this.hasShared = null;
      throw error;
    }
    const { runs } = await this.get<{ runs: Run[] }>("shared/runs/visible", { limit: 100, no_track_activity: 1 });
    this.shared.take(runs);
    return runs;
  }

  /** Runs that need a person, whatever their age. */
  attention(): Promise<{ runs: Run[]; total: number }> {
    return this.get("runs/attention");
  }

  async run(id: string): Promise<Run> {
    return (await this.get<{ run: Run }>(`runs/${encodeURIComponent(id)}`)).run;
  }

  /** The output of a cell that shows the run, as it should be now: content by MIME type. */
  async display(id: string): Promise<Record<string, unknown>> {
    return (await this.get<{ data: Record<string, unknown> }>(`runs/${encodeURIComponent(id)}/display`)).data;
  }

  async outputs(id: string, task?: string): Promise<Record<string, unknown>> {
    return (await this.get<{ outputs: Record<string, unknown> }>(`runs/${encodeURIComponent(id)}/outputs`, { task })).outputs;
  }

  /** Rows of a map, in order. */
  items(id: string, query: operations["items"]["parameters"]["query"]): Promise<{ items: Row[]; next: string | null }> {
    return this.get(`runs/${encodeURIComponent(id)}/items`, query as Query);
  }

  /** Where a file of a run is; it is downloaded, never shown inline. */
  artifactUrl(id: string, path: string): string {
    return `${this.url}${this.shared.placed(`runs/${encodeURIComponent(id)}`)}/artifacts/${path.split("/").map(encodeURIComponent).join("/")}`;
  }

  async submit(body: Body<"SubmitBody">): Promise<Run> {
    return (await this.post<{ run: Run }>("runs", body)).run;
  }

  estimate(body: Body<"EstimateBody">): Promise<Estimate> {
    return this.post("runs/estimate", body);
  }

  cancel(id: string): Promise<Run> {
    return this.act(id, "cancel", {});
  }

  resume(
    id: string,
    body: { only_failed?: boolean; from_task?: string; budget?: Budget; rows?: Record<string, number[]>; include_done?: boolean }
  ): Promise<Run> {
    return this.act(id, "resume", body);
  }

  /** Decide the gate of `task`; it is refused when the run waits at another one by now. */
  decide(id: string, decision: "approve" | "reject", note: string, task?: string): Promise<Run> {
    const body: Body<"GateBody"> = { decision, ...(note && { note }), ...(task && { task }) };
    return this.act(id, "gate", body);
  }

  /** All of it anew, or from a task on, or that task only. */
  restart(id: string, body: Body<"RestartBody"> = {}): Promise<Run> {
    return this.act(id, "restart", body);
  }

  /** A new run, with the checkpoints of the tasks before `task`; with another seed or pipeline if given. */
  async fork(id: string, task: string, changed: { seed?: unknown; pipeline?: unknown } = {}): Promise<Run> {
    const body = { from_task: task, ...changed };
    const { idempotency_key } = this.forks.of({ id, ...body });
    const run = await this.act(id, "fork", { ...body, idempotency_key });
    this.forks.done();
    return run;
  }

  /** Have a run go on among the shared runs of the hub; asked again until it is there. */
  async move(id: string): Promise<Run> {
    const body: Body<"MoveBody"> = { to: "shared", group: "" };
    let run = await this.act(id, "move", body);
    while (!run.moved?.accepted) {
      run = await this.act(id, "move", body);
    }
    return run;
  }

  /** Remove an ended run for good. */
  async deleteRun(id: string): Promise<void> {
    await this.send(`runs/${encodeURIComponent(id)}`, { method: "DELETE" });
  }

  // -- dead letters -------------------------------------------------------------------------------

  deadLetters(query: Query = {}): Promise<{ dead_letters: DeadLetter[]; next: string | null }> {
    return this.get("dead-letters", query);
  }

  /** Try a dead run again, where it died. */
  async requeue(id: string): Promise<Run> {
    return (await this.post<{ run: Run }>(`dead-letters/${encodeURIComponent(id)}/requeue`, {})).run;
  }

  /** Remove a dead run for good. */
  async discard(id: string): Promise<void> {
    await this.send(`dead-letters/${encodeURIComponent(id)}`, { method: "DELETE" });
  }

  // -- pipelines and models -----------------------------------------------------------------------

  async pipelines(): Promise<PipelineSummary[]> {
    return (await this.get<{ pipelines: PipelineSummary[] }>("pipelines")).pipelines;
  }

  async pipeline(name: string): Promise<Record<string, unknown>> {
    return (await this.get<{ pipeline: Record<string, unknown> }>(`pipelines/${encodeURIComponent(name)}`)).pipeline;
  }

  validate(pipeline: unknown, seed?: unknown): Promise<Record<string, unknown>> {
    return this.post("pipelines/validate", seed === undefined ? { pipeline } : { pipeline, seed });
  }

  /** What a registered pipeline does and leaves. */
  async analysis(pipeline: string): Promise<Analysis> {
    return (await this.post<{ analysis: Analysis }>("pipelines/validate", { pipeline, analysis: true })).analysis;
  }

  async models(query: Query = {}): Promise<Model[]> {
    return (await this.get<{ models: Model[] }>("models", query)).models;
  }

  // -- schedules ----------------------------------------------------------------------------------

  async schedules(): Promise<Schedule[]> {
    return (await this.get<{ schedules: Schedule[] }>("schedules")).schedules;
  }

  /** Pause it, let it go on, or change a part of it. */
  async changeSchedule(id: string, body: Body<"SchedulePatch">): Promise<void> {
    await this.send(`schedules/${encodeURIComponent(id)}`, { method: "PATCH", body: JSON.stringify(body) });
  }

  async removeSchedule(id: string): Promise<void> {
    await this.send(`schedules/${encodeURIComponent(id)}`, { method: "DELETE" });
  }

  async runSchedule(id: string): Promise<Run> {
    return (await this.post<{ run: Run }>(`schedules/${encodeURIComponent(id)}/run`, {})).run;
  }

  // -- the house ----------------------------------------------------------------------------------

  meta(): Promise<Meta> {
    return this.get("meta");
  }

  waits(): Promise<Waits> {
    return this.get("waits");
  }

  usage(days: number): Promise<DailyUsage> {
    return this.get("usage", { days });
  }

  clean(body: Body<"CleanBody">): Promise<CleanReport> {
    return this.post("clean", body);
  }

  audit(query: Query = {}): Promise<{ entries: AuditEntry[]; next: string | null }> {
    return this.get("audit", query);
  }

  // -- the wire -----------------------------------------------------------------------------------

  /** The answer of a route as JSON, for what has no method of its own. Undefined values of the query are left out. */
  async get<T>(path: string, query: Query = {}, signal?: AbortSignal): Promise<T> {
    const given = Object.entries(query).flatMap(([key, value]) => (value === undefined ? [] : [[key, String(value)]]));
    const search = new URLSearchParams(given).toString();
    return (await (await this.send(search ? `${path}?${search}` : path, signal ? { signal } : {})).json()) as T;
  }

  async post<T>(path: string, body: object, signal?: AbortSignal): Promise<T> {
    return (await (await this.send(path, { method: "POST", body: JSON.stringify(body), signal })).json()) as T;
  }

  /** Whether a run that is not here is a shared one, which was not known yet. */
  private async becameShared(path: string): Promise<boolean> {
    const run = idOf(path);
    if (run === null || this.shared.has(run)) {
      return false;
    }
    await this.sharedRuns().catch(() => null);
    return this.shared.has(run);
  }

  readonly shared = new SharedRuns();
  private hasShared: Promise<boolean> | null = null;

  /** A fork that is asked for twice, as a click came twice or an answer was lost, is one. */
  private readonly forks = new StartKey();

  private async act(id: string, verb: string, body: object): Promise<Run> {
    return this.shared.dressed((await this.post<{ run: Run }>(`runs/${encodeURIComponent(id)}/${verb}`, body)).run);
  }

  /** Any route, by its path below `po/api/v1/`. Refusals are thrown as `ApiError`. */
  async send(path: string, init: RequestInit): Promise<Response> {
    const url = this.url + this.shared.placed(path);
    let response: Response;
    try {
      response = await ServerConnection.makeRequest(url, init, this.settings);
    } catch {
      // Also an abort comes here, as Jupyter's NetworkError; whoever aborted does not read it.
      throw new ApiError(unreachable());
    }
    if (response.status === 404 && (await this.becameShared(path))) {
      return this.send(path, init);
    }
    if (!response.ok) {
      throw new ApiError(await refusal(response));
    }
    return response;
  }
}
