/** The DataFrames of live kernels. A kernel runs nothing of ours before a person chose it. */

import type { Kernel, ServiceManager } from "@jupyterlab/services";
import { language } from "../../format/language.js";

/** A kernel that a notebook or a console has. */
export interface LiveKernel {
  id: string;
  /** The notebook's path. */
  path: string;
  busy: boolean;
}

export interface LiveFrame {
  name: string;
  library: string;
  rows: number;
  /** The first of them; `width` is their number. */
  columns: string[];
  width: number;
}

/** Rows as a part of a seed: its data by field, and the index of the rows, where they have one of their own. */
export interface FrameSeed {
  data: Record<string, unknown[]>;
  index?: Record<string, unknown>;
}

export interface KernelValues {
  kernels(): Promise<LiveKernel[]>;
  frames(kernel: string): Promise<LiveFrame[]>;
  /** The rows of a frame for a field of the seed. Throws an Error that says what is wrong. */
  seed(kernel: string, frame: string, field: string): Promise<FrameSeed>;
}

const MIME = "application/vnd.po-jupyter.values+json";
const MODULE = "__import__('po_jupyter.kernel.live_values', fromlist=['frames_in'])";
/** Milliseconds that a kernel may take; it works on nothing else then, and nothing of it waits for us. */
const PATIENCE = 60_000;

type Manager = Pick<ServiceManager.IManager, "sessions" | "kernels" | "kernelspecs">;

export class LabKernels implements KernelValues {
  constructor(
    private readonly services: Manager,
    private readonly patience = PATIENCE
  ) {}

  async kernels(): Promise<LiveKernel[]> {
    const { sessions, kernelspecs } = this.services;
    await Promise.all([sessions.refreshRunning(), kernelspecs.ready]);
    const found = new Map<string, LiveKernel>();
    for (const session of sessions.running()) {
      const { kernel } = session;
      const language = kernel && kernelspecs.specs?.kernelspecs[kernel.name]?.language;
      if (kernel && language?.toLowerCase() === "python") {
        found.set(kernel.id, { id: kernel.id, path: session.path, busy: kernel.execution_state === "busy" });
      }
    }
    return [...found.values()].sort((a, b) => a.path.localeCompare(b.path));
  }

  async frames(kernel: string): Promise<LiveFrame[]> {
    const found = await this.evaluate(kernel, `${MODULE}.frames_in(globals())`);
    return Array.isArray(found.frames) ? (found.frames as LiveFrame[]) : [];
  }

  async seed(kernel: string, frame: string, field: string): Promise<FrameSeed> {
    const names = `${JSON.stringify(frame)}, ${JSON.stringify(field)}`;
    return (await this.evaluate(kernel, `${MODULE}.seed_from(globals(), ${names})`)) as unknown as FrameSeed;
  }

  /** The JSON of an expression, which leaves nothing in the notebook's names and history. */
  private async evaluate(id: string, expression: string): Promise<Record<string, unknown>> {
    await this.services.kernels.refreshRunning();
    const model = [...this.services.kernels.running()].find(each => each.id === id);
    if (!model) {
      throw new Error("This kernel has ended.");
    }
    if (model.execution_state === "busy") {
      throw new Error("This kernel is at work. Try again when its cell has ended.");
    }
    const kernel = this.services.kernels.connectTo({ model, username: "po-jupyter" });
    try {
      return await within(this.patience, ask(kernel, expression));
    } finally {
      kernel.dispose();
    }
  }
}

async function ask(kernel: Kernel.IKernelConnection, expression: string): Promise<Record<string, unknown>> {
  const { content } = await kernel.requestExecute({
    code: "",
    silent: true,
    store_history: false,
    allow_stdin: false,
    stop_on_error: false,
    user_expressions: { found: expression }
  }).done;
  const answer = content.status === "ok" ? (content.user_expressions?.found as ExpressionResult | undefined) : undefined;
  const found = answer?.status === "ok" ? answer.data?.[MIME] : undefined;
  if (typeof found !== "object" || found === null) {
    throw new Error(reason(answer));
  }
  const { error } = found as { error?: { message: string; hint?: string; details?: { violations?: Violation[] } } };
  if (error) {
    throw new Error([error.message, error.hint].filter(Boolean).join(" "));
  }
  return found as Record<string, unknown>;
}

interface Violation {
  where: string;
  message: string;
}

interface ExpressionResult {
  status: string;
  ename?: string;
  evalue?: string;
  data?: Record<string, unknown>;
}

function reason(answer: ExpressionResult | undefined): string {
  const { trans } = language;
  if (answer?.ename === "ModuleNotFoundError") {
    return trans.__("po_jupyter is not installed in the environment of this kernel. Install it there, or save the frame as CSV.");
  }
  return answer?.evalue ? trans.__("The kernel said: %1", answer.evalue.slice(0, 300)) : trans.__("The kernel gave no answer.");
}

function within<T>(milliseconds: number, work: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error("The kernel does not answer. Try again when it is idle.")), milliseconds);
    work.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}
