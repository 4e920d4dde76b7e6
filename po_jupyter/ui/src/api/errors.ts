/** What a person is told when a request fails. */

import type { Failure } from "./types.js";

/** Something the server refused, or a server that is not there. */
export class ApiError extends Error {
  constructor(readonly failure: Failure) {
    super(failure.message);
  }
}

/** What a person is told about any error of a request or of the stream. */
export function explain(error: unknown): Failure {
  if (error instanceof ApiError) {
    return error.failure;
  }
  return { code: "lost", message: "The connection to the server was lost.", hint: "Runs go on without it." };
}

/** What a failed response says in its body, or else what its status means for the person before the screen. */
export async function refusal(response: Response): Promise<Failure> {
  const body = (await response.json().catch(() => null)) as { error?: Partial<Failure>; message?: string } | null;
  // An expired hub session answers a POST with 403 and a word about _xsrf: that is a missing login too.
  if (response.status === 401 || (response.status === 403 && body?.message?.includes("_xsrf"))) {
    return {
      code: "unauthenticated",
      message: "The server does not know who you are (401).",
      hint: "Reload the page to log in again."
    };
  }
  if (body?.error?.message) {
    const { code, message, hint, details } = body.error;
    return { code: code ?? "error", message, hint, details };
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
