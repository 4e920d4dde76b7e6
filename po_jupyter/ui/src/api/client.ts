/** The orchestrator's HTTP, spoken with Jupyter's own credentials (token, cookie and XSRF alike). */

import { URLExt } from "@jupyterlab/coreutils";
import { ServerConnection } from "@jupyterlab/services";
import type { Failure, KeyHelp, Run, Suggestions, Violation } from "./types.js";

/** Something the server refused, or a server that is not there. */
export class ApiError extends Error {
  constructor(readonly failure: Failure) {
    super(failure.message);
  }
}

export class Api {
  constructor(private readonly settings: ServerConnection.ISettings) {}

  /** The stream of all my runs. It is no activity: a panel that is left open must not keep a server alive. */
  events(signal: AbortSignal): Promise<Response> {
    return this.send("events?no_track_activity=1", { signal, headers: { Accept: "text/event-stream" } });
  }

  cancel(id: string): Promise<Run> {
    return this.post(id, "cancel", {});
  }

  resume(id: string, body: { only_failed?: boolean; budget?: { usd?: number; tokens?: number } }): Promise<Run> {
    return this.post(id, "resume", body);
  }

  decide(id: string, decision: "approve" | "reject", note: string): Promise<Run> {
    return this.post(id, "gate", note ? { decision, note } : { decision });
  }

  /** All of it anew. */
  restart(id: string): Promise<Run> {
    return this.post(id, "restart", {});
  }

  /** A new run, with the checkpoints of the tasks before `task`. */
  fork(id: string, task: string): Promise<Run> {
    return this.post(id, "fork", { from_task: task });
  }

  /** Try a dead run again, where it died. */
  requeue(id: string): Promise<Run> {
    return this.post(id, "requeue", {}, "dead-letters");
  }

  /** Remove a dead run for good. */
  async discard(id: string): Promise<void> {
    await this.send(`dead-letters/${encodeURIComponent(id)}`, { method: "DELETE" });
  }

  /** The mistakes of a pipeline's YAML; none where it can run. Throws what else goes wrong. */
  async validate(body: { pipeline: string; name: string; model?: string }, signal: AbortSignal): Promise<Violation[]> {
    try {
      await this.send("pipelines/validate", { method: "POST", body: JSON.stringify(body), signal });
      return [];
    } catch (error) {
      if (!(error instanceof ApiError) || error.failure.code !== "invalid_pipeline") {
        throw error;
      }
      const { details, message } = error.failure;
      return details?.violations ?? [{ where: "", message, line: null, column: null }];
    }
  }

  /** What may stand between `before` and `after` in a pipeline's YAML. */
  async complete(body: { before: string; after: string; name: string }): Promise<Suggestions> {
    const response = await this.send("pipelines/complete", { method: "POST", body: JSON.stringify(body) });
    return (await response.json()) as Suggestions;
  }

  /** What the key between `before` and `after` means. */
  async describe(body: { before: string; after: string }): Promise<KeyHelp | null> {
    const response = await this.send("pipelines/describe", { method: "POST", body: JSON.stringify(body) });
    return ((await response.json()) as { help: KeyHelp | null }).help;
  }

  private async post(id: string, verb: string, body: object, of: "runs" | "dead-letters" = "runs"): Promise<Run> {
    const response = await this.send(`${of}/${encodeURIComponent(id)}/${verb}`, {
      method: "POST",
      body: JSON.stringify(body)
    });
    return ((await response.json()) as { run: Run }).run;
  }

  private async send(path: string, init: RequestInit): Promise<Response> {
    const url = URLExt.join(this.settings.baseUrl, "po/api/v1", path);
    let response: Response;
    try {
      response = await ServerConnection.makeRequest(url, init, this.settings);
    } catch {
      // Also an abort comes here, as Jupyter's NetworkError; whoever aborted does not read it.
      throw new ApiError({
        code: "unreachable",
        message: "The Jupyter server does not answer.",
        hint: "Runs are kept by the server: they are here again when it is."
      });
    }
    if (!response.ok) {
      throw new ApiError(await refusal(response));
    }
    return response;
  }
}

/** What a failed response says in its body, or else what its status means for the person before the screen. */
async function refusal(response: Response): Promise<Failure> {
  const said = (await response.json().catch(() => null)) as { error?: Partial<Failure>; message?: string } | null;
  // An expired hub session answers a POST with 403 and a word about _xsrf: that is a missing login too.
  if (response.status === 401 || (response.status === 403 && said?.message?.includes("_xsrf"))) {
    return {
      code: "unauthenticated",
      message: "The server does not know who you are (401).",
      hint: "Reload the page to log in again."
    };
  }
  if (said?.error?.message) {
    const { code = "error", message, hint, details } = said.error;
    return { code, message, hint, details };
  }
  if (response.status === 404) {
    return {
      code: "not_found",
      message: "po_jupyter does not run in this Jupyter server (404).",
      hint: "Install po_jupyter where the server is installed and restart the server."
    };
  }
  if (response.status === 502 || response.status === 503 || response.status === 504) {
    return { code: "unavailable", message: `The orchestrator is not ready (${response.status}).`, hint: "" };
  }
  return { code: "error", message: `The server answered ${response.status} ${response.statusText}.`, hint: "" };
}

/** What a person is told about any error of a request or of the stream. */
export function explain(error: unknown): Failure {
  if (error instanceof ApiError) {
    return error.failure;
  }
  return { code: "lost", message: "The connection to the server was lost.", hint: "Runs go on without it." };
}
