import { describe, expect, it, vi } from "vitest";
import { LabKernels } from "../kernelValues.js";

const MIME = "application/vnd.po-jupyter.values+json";

/** Two notebooks with Python, one with R; what kernels answer to an expression, and what was asked. */
function lab(answer: (expression: string) => unknown, state = "idle") {
  const models = [
    { id: "k1", name: "python3", execution_state: state },
    { id: "k2", name: "ir", execution_state: "idle" }
  ];
  const asked: Record<string, unknown>[] = [];
  const dispose = vi.fn();
  const connectTo = vi.fn(() => ({
    dispose,
    requestExecute: (content: { user_expressions: { found: string } }) => {
      asked.push(content);
      const found = answer(content.user_expressions.found);
      const done = found instanceof Promise ? found : Promise.resolve({ content: { status: "ok", user_expressions: { found } } });
      return { done };
    }
  }));
  const services = {
    sessions: {
      refreshRunning: async () => undefined,
      running: () => [
        { path: "b.ipynb", kernel: models[0] },
        { path: "r.ipynb", kernel: models[1] },
        { path: "none.ipynb", kernel: null }
      ]
    },
    kernels: { refreshRunning: async () => undefined, running: () => models, connectTo },
    kernelspecs: {
      ready: Promise.resolve(),
      specs: { kernelspecs: { python3: { language: "python" }, ir: { language: "R" } } }
    }
  };
  return { kernels: new LabKernels(services as never, 50), asked, dispose, connectTo };
}
const ok = (values: unknown) => ({ status: "ok", data: { [MIME]: values, "text/plain": "" } });

describe("the frames of live kernels", () => {
  it("lists Python's kernels without asking one of them", async () => {
    const { kernels, connectTo } = lab(() => ok({}));
    expect(await kernels.kernels()).toEqual([{ id: "k1", path: "b.ipynb", busy: false }]);
    expect(connectTo).not.toHaveBeenCalled();
  });

  it("evaluates an expression, silently, and lets the kernel go", async () => {
    const { kernels, asked, dispose } = lab(() => ok({ frames: [{ name: "f" }] }));
    expect(await kernels.frames("k1")).toEqual([{ name: "f" }]);
    expect(asked[0]).toMatchObject({ code: "", silent: true, store_history: false, allow_stdin: false });
    expect(dispose).toHaveBeenCalledOnce();
  });

  it("quotes the names that it is given", async () => {
    const { kernels, asked } = lab(() => ok({ data: { rows: [] } }));
    await kernels.seed("k1", "a'\") or x", "rows");
    expect((asked[0]!.user_expressions as { found: string }).found).toContain(`seed_from(globals(), "a'\\") or x", "rows")`);
  });

  it.each([
    [ok({ error: { message: "f has 60,000 rows", hint: "Use the client." } }), "f has 60,000 rows Use the client."],
    [{ status: "error", ename: "ModuleNotFoundError", evalue: "No module" }, "is not installed in the environment"],
    [{ status: "error", ename: "NameError", evalue: "nobody" }, "The kernel said: nobody"],
    [undefined, "gave no answer"],
    [new Promise(() => undefined), "does not answer"]
  ])("says what is wrong: %j", async (answer, message) => {
    const { kernels, dispose } = lab(() => answer);
    await expect(kernels.seed("k1", "f", "rows")).rejects.toThrow(message);
    expect(dispose).toHaveBeenCalledOnce();
  });

  it("does not queue behind a cell that runs, and knows of a kernel that is gone", async () => {
    const { kernels, connectTo } = lab(() => ok({}), "busy");
    expect((await kernels.kernels())[0]!.busy).toBe(true);
    await expect(kernels.frames("k1")).rejects.toThrow("at work");
    await expect(kernels.frames("k9")).rejects.toThrow("has ended");
    expect(connectTo).not.toHaveBeenCalled();
  });
});
