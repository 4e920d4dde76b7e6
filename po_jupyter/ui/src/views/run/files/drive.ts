/** Files of runs as a drive of Lab, to be read only: its viewers open `po-runs:RUN/NAME` as they open any file. */

import type { Contents, ServerConnection } from "@jupyterlab/services";
import { Signal } from "@lumino/signaling";
import type { IPoLive } from "../../../tokens.js";
import { RunSource } from "../source.js";

export const DRIVE = "po-runs";

export class RunFiles implements Contents.IDrive {
  constructor(
    private readonly live: IPoLive,
    readonly serverSettings: ServerConnection.ISettings
  ) {}

  readonly name = DRIVE;
  readonly fileChanged = new Signal<this, Contents.IChangedArgs>(this);
  isDisposed = false;

  dispose(): void {
    this.isDisposed = true;
    Signal.clearData(this);
  }

  async get(path: string, options?: Contents.IFetchOptions): Promise<Contents.IModel> {
    const [run = "", ...rest] = path.split("/");
    const name = rest.join("/");
    if (!name) {
      return { ...modelOf(path, "directory"), content: [], format: "json" };
    }
    const model = modelOf(path, "file");
    if (options?.content === false) {
      return model;
    }
    const api = await this.live.api();
    const blob = await distrusted(await new RunSource(api, run).artifact(name));
    if (options?.format === "base64") {
      return { ...model, format: "base64", content: await inBase64(blob), size: blob.size };
    }
    const text = new TextDecoder("utf-8", { fatal: true }).decode(await blob.arrayBuffer());
    const json = options?.format === "json";
    return { ...model, format: json ? "json" : "text", content: json ? JSON.parse(text) : text, size: blob.size };
  }

  /** The server sends it as a download, whatever it is. */
  async getDownloadUrl(path: string): Promise<string> {
    const [run = "", ...rest] = path.split("/");
    const name = rest.map(encodeURIComponent).join("/");
    return `${this.serverSettings.baseUrl}po/api/v1/runs/${encodeURIComponent(run)}/artifacts/${name}`;
  }

  newUntitled(): Promise<Contents.IModel> {
    return readOnly();
  }

  delete(): Promise<void> {
    return readOnly();
  }

  rename(): Promise<Contents.IModel> {
    return readOnly();
  }

  save(): Promise<Contents.IModel> {
    return readOnly();
  }

  copy(): Promise<Contents.IModel> {
    return readOnly();
  }

  createCheckpoint(): Promise<Contents.ICheckpointModel> {
    return readOnly();
  }

  async listCheckpoints(): Promise<Contents.ICheckpointModel[]> {
    return [];
  }

  restoreCheckpoint(): Promise<void> {
    return readOnly();
  }

  deleteCheckpoint(): Promise<void> {
    return readOnly();
  }
}

function readOnly(): Promise<never> {
  return Promise.reject(new Error("Files of a run stay as they are: save a copy with Download."));
}

function modelOf(path: string, type: "file" | "directory"): Contents.IModel {
  const name = path.slice(path.lastIndexOf("/") + 1);
  // Nothing knows when it was written: a day that never changes, so that no viewer believes it changed.
  const at = new Date(0).toISOString();
  return { name, path, type, writable: false, created: at, last_modified: at, mimetype: "", content: null, format: null };
}

/**
 * The file, or when it is a notebook (whatever its name is) that notebook without its marks of trust: Lab believes them
 * and would run its HTML and JavaScript, and a model or a package may have written them.
 */
async function distrusted(blob: Blob): Promise<Blob> {
  let content: unknown;
  try {
    content = JSON.parse(new TextDecoder().decode(await blob.arrayBuffer()), withoutTrust);
  } catch (error) {
    if (error instanceof SyntaxError) {
      return blob; // not JSON, so not a notebook
    }
    throw error; // nested too deep to be looked through
  }
  const isNotebook = typeof content === "object" && content !== null && ("cells" in content || "worksheets" in content);
  return isNotebook ? new Blob([JSON.stringify(content, null, 1)], { type: blob.type }) : blob;
}

function withoutTrust(key: string, value: unknown): unknown {
  if (key === "__proto__") {
    return undefined; // a copy of the object would inherit what stands here
  }
  if (key === "metadata" && typeof value === "object" && value !== null && "trusted" in value) {
    delete value.trusted;
  }
  return value;
}

async function inBase64(blob: Blob): Promise<string> {
  const url = await new Promise<string>((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result as string);
    reader.onerror = () => reject(reader.error ?? new Error("the file could not be read"));
    reader.readAsDataURL(blob);
  });
  return url.slice(url.indexOf(",") + 1);
}
