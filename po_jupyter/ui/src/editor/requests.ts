/** What an editor asks the server about a pipeline's YAML. */

import type { Api } from "../api/client.js";
import { ApiError } from "../api/errors.js";

/** A mistake in an input: `where` is a path in it, line and column count from 1 in its text. */
export interface Violation {
  where: string;
  message: string;
  line?: number | null;
  column?: number | null;
}

/** What may stand at the cursor; `typed` is the text before it that a suggestion replaces. */
export interface Suggestions {
  typed: string;
  suggestions: { text: string; label: string; kind: string; detail: string; documentation: string }[];
}

/** What a key means; `before` and `after` are its characters on both sides of the place that was asked for. */
export interface KeyHelp {
  before: number;
  after: number;
  title: string;
  documentation: string;
}

/** A pipeline's text with what the line of its cell says; a file says nothing. */
export interface PipelineText {
  pipeline: string;
  name?: string;
  model?: string;
}

/** The mistakes in a pipeline; none where it can run. Throws whatever else goes wrong. */
export async function mistakes(api: Api, text: PipelineText, signal: AbortSignal): Promise<Violation[]> {
  try {
    await api.post("pipelines/validate", text, signal);
    return [];
  } catch (error) {
    if (!(error instanceof ApiError) || !["invalid_pipeline", "invalid_input"].includes(error.failure.code)) {
      throw error;
    }
    const { details, message } = error.failure;
    const found = (details as { violations?: Violation[] } | undefined)?.violations ?? [];
    return found.length ? found : [{ where: "", message }];
  }
}

/** What may stand between `before` and `after`. */
export function suggestions(api: Api, body: { before: string; after: string; name: string }): Promise<Suggestions> {
  return api.post("pipelines/complete", body);
}

/** What the key between `before` and `after` means. */
export async function keyHelp(api: Api, body: { before: string; after: string }): Promise<KeyHelp | null> {
  return (await api.post<{ help: KeyHelp | null }>("pipelines/describe", body)).help;
}
