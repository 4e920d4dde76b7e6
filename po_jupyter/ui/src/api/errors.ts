/** What a person is told when a request fails. */

import { language } from "../format/language.js";
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
  const { trans } = language;
  return { code: "lost", message: trans.__("The connection to the server was lost."), hint: trans.__("Runs go on without it.") };
}

/** The server does not answer at all. */
export function unreachable(): Failure {
  const { trans } = language;
  return {
    code: "unreachable",
    message: trans.__("The Jupyter server does not answer."),
    hint: trans.__("Runs are kept by the server: they are here again when it is.")
  };
}

/** What a failed response says in its body, or else what its status means for the person before the screen. */
export async function refusal(response: Response): Promise<Failure> {
  const body = (await response.json().catch(() => null)) as { error?: Partial<Failure>; message?: string } | null;
  const { trans } = language;
  // An expired hub session answers a POST with 403 and a word about _xsrf: that is a missing login too.
  if (response.status === 401 || (response.status === 403 && body?.message?.includes("_xsrf"))) {
    return {
      code: "unauthenticated",
      message: trans.__("The server does not know who you are (401)."),
      hint: trans.__("Reload the page to log in again.")
    };
  }
  if (body?.error?.message) {
    const { code, message, hint, details } = body.error;
    return { code: code ?? "error", message, hint, details };
  }
  if (response.status === 404) {
    return {
      code: "not_found",
      message: trans.__("po_jupyter does not run in this Jupyter server (404)."),
      hint: trans.__("Install po_jupyter where the server is installed and restart the server.")
    };
  }
  if (response.status === 502 || response.status === 503 || response.status === 504) {
    return { code: "unavailable", message: trans.__("The orchestrator is not ready (%1).", response.status), hint: "" };
  }
  const answer = `${response.status} ${response.statusText}`;
  return { code: "error", message: trans.__("The server answered %1.", answer), hint: "" };
}
