// @vitest-environment jsdom
import * as React from "react";
import { act } from "react";
import { createRoot } from "react-dom/client";
import type { Root } from "react-dom/client";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Api } from "../../../api/client.js";
import { ApiError } from "../../../api/errors.js";
import { aRun } from "../../../state/__tests__/samples.js";
import type { KernelValues } from "../kernelValues.js";
import { StartForm } from "../StartForm.js";

(globalThis as { IS_REACT_ACT_ENVIRONMENT?: boolean }).IS_REACT_ACT_ENVIRONMENT = true;

let host: HTMLElement;
let root: Root;
const submit = vi.fn(async (_: { idempotency_key?: string; seed?: unknown }) => aRun("a"));
const estimate = vi.fn();
const task = { name: "greet", kind: "prompt", needs: [], for_each: "{{ seed.rows }}", stages: ["inference"], tools: [] };
const analysis = { tasks: [{ ...task, artifacts: ["a.html"], shape: "{label: text}", gate: true }], seed: null };
const api = { submit, estimate, models: async () => [], analysis: async () => analysis } as unknown as Api;
const values: KernelValues = {
  kernels: async () => [{ id: "k", path: "a.ipynb", busy: false }],
  frames: vi.fn(async () => [{ name: "tickets", library: "pandas", rows: 1200, columns: ["text", "id"], width: 2 }]),
  seed: async (_kernel, _frame, field) => ({ data: { [field]: [{ text: "x" }] }, index: { [field]: { levels: [] } } })
};
const definition = { tasks: [{ name: "greet", prompt: "{{ seed.first }} {{ seed.second }}" }] };

beforeEach(async () => {
  host = document.body.appendChild(document.createElement("div"));
  root = createRoot(host);
  await act(async () => root.render(<StartForm api={api} values={values} name="p" definition={definition} started={() => undefined} />));
});
afterEach(() => {
  act(() => root.unmount());
  host.remove();
  vi.resetAllMocks();
});

const press = (label: string): Promise<void> =>
  act(async () => [...host.querySelectorAll<HTMLElement>("button")].find(each => each.textContent === label)!.click());
const write = (field: Element, value: string): void => {
  Object.getOwnPropertyDescriptor(Object.getPrototypeOf(field) as object, "value")!.set!.call(field, value);
  field.dispatchEvent(new Event("input", { bubbles: true }));
};
const title = (): Element => host.querySelector("input[placeholder=p]")!;

describe("the form that starts a run", () => {
  it("sends the same key when the answer was lost, so that one run is paid, and another for the next run", async () => {
    submit.mockRejectedValueOnce(new ApiError({ code: "unreachable", message: "away" })).mockResolvedValue(aRun("a"));
    await press("Start");
    await press("Start");
    await press("Start");
    act(() => write(title(), "other"));
    await press("Start");
    const keys = submit.mock.calls.map(([body]) => body.idempotency_key);
    expect(keys.every(Boolean)).toBe(true);
    expect(keys[1]).toBe(keys[0]);
    expect(new Set(keys).size).toBe(3);
  });

  it("shows no estimate of what was filled in before", async () => {
    let answer: (found: unknown) => void = () => undefined;
    estimate.mockImplementationOnce(() => new Promise(resolve => (answer = resolve)));
    await press("Estimate");
    act(() => write(title(), "other"));
    const before = host.textContent!.replace("Estimating…", "Estimate");
    await act(async () => answer({ calls: 1, input_tokens: 1, output_tokens: 1, cost: 99, usd: 99, tasks: [], unpriced: [], warnings: [] }));
    expect(host.textContent).toBe(before);
  });

  it("says what the pipeline does and leaves before anything is asked", () => {
    expect(host.querySelector(".po-Analysis")!.textContent).toBe(
      "greetprompt · for each of seed.rows · waits for youinference→ {label: text}→ a.html"
    );
    expect(estimate).not.toHaveBeenCalled();
  });

  it("takes the rows of a frame from the kernel that was chosen, and of no other", async () => {
    submit.mockResolvedValue(aRun("a"));
    await press("Rows from a notebook…");
    expect(values.frames).not.toHaveBeenCalled();
    const kernels = host.querySelector<HTMLSelectElement>(".po-Frames select")!;
    await act(async () => {
      kernels.value = "k";
      kernels.dispatchEvent(new Event("change", { bubbles: true }));
    });
    expect(host.querySelector(".po-Frames-one")!.textContent).toBe("tickets1,200 rows · text, id");
    await act(async () => host.querySelector<HTMLElement>(".po-Frames-one")!.click());
    expect(host.querySelector(".po-Frames-chosen")!.textContent).toContain("first: tickets · 1,200 rows · a.ipynb");
    await press("Start");
    expect(submit.mock.calls[0]![0].seed).toEqual({
      name: "p", data: { first: [{ text: "x" }] }, index: { first: { levels: [] } }
    });
    await press("Remove");
    await press("Start");
    expect(submit.mock.calls[1]![0].seed).toEqual({ name: "p", data: {} });
  });

  const rowsButton = (): HTMLElement => [...host.querySelectorAll<HTMLElement>("button")].find(each => each.textContent === "Rows from a notebook…")!;
  const chooseFrame = async (): Promise<void> => {
    await press("Rows from a notebook…");
    const kernels = host.querySelector<HTMLSelectElement>(".po-Frames select")!;
    await act(async () => {
      kernels.value = "k";
      kernels.dispatchEvent(new Event("change", { bubbles: true }));
    });
    await act(async () => host.querySelector<HTMLElement>(".po-Frames-one")!.click());
  };

  it("keeps the focus while the rows of a notebook are chosen and removed", async () => {
    rowsButton().focus();
    await press("Rows from a notebook…");
    expect(document.activeElement).toBe(rowsButton());
    let answer: (frames: never[]) => void = () => undefined;
    vi.mocked(values.frames).mockImplementationOnce(() => new Promise(resolve => (answer = resolve)));
    const kernels = host.querySelector<HTMLSelectElement>(".po-Frames select")!;
    await act(async () => {
      kernels.value = "k";
      kernels.dispatchEvent(new Event("change", { bubbles: true }));
    });
    expect(kernels.disabled).toBe(false);
    expect(host.querySelector(".po-Frames [role=status]")!.textContent).toBe("The kernel is asked…");
    await act(async () => answer([]));
    await press("Close");
    expect(document.activeElement).toBe(rowsButton());
    vi.mocked(values.frames).mockResolvedValue([{ name: "tickets", library: "pandas", rows: 1, columns: [], width: 0 }]);
    await chooseFrame();
    expect(document.activeElement).toBe(rowsButton());
    (document.activeElement as HTMLElement).blur();
    await press("Remove");
    expect(document.activeElement).toBe(rowsButton());
  });

  it("takes the rows of a file that was chosen after a frame", async () => {
    submit.mockResolvedValue(aRun("a"));
    vi.mocked(values.frames).mockResolvedValue([{ name: "tickets", library: "pandas", rows: 1, columns: [], width: 0 }]);
    await chooseFrame();
    const file = { name: "a.json", text: async () => '[{"text": "of the file"}]' };
    const drop = Object.assign(new Event("drop", { bubbles: true, cancelable: true }), { dataTransfer: { files: [file] } });
    await act(async () => host.querySelector("form")!.dispatchEvent(drop));
    await press("Start");
    expect(submit.mock.calls[0]![0].seed).toEqual({ name: "p", data: { first: [{ text: "of the file" }] } });
  });

  it("keeps both of two fields that are changed in one moment", async () => {
    submit.mockResolvedValue(aRun("a"));
    const [first, second] = [...host.querySelectorAll("textarea")];
    act(() => {
      write(first!, "1");
      write(second!, "2");
    });
    await press("Start");
    expect(submit.mock.calls[0]![0].seed).toMatchObject({ data: { first: 1, second: 2 } });
  });
});
