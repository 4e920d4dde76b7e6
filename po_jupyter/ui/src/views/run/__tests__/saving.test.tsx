// @vitest-environment jsdom
import * as React from "react";
import { act } from "react";
import { createRoot } from "react-dom/client";
import type { Root } from "react-dom/client";
import { nullTranslator } from "@jupyterlab/translation";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { explain } from "../../../api/errors.js";
import { SharedRuns } from "../../../api/shared.js";
import { aRun } from "../../../state/__tests__/samples.js";
import type { Page } from "../context.js";
import { PageProvider } from "../context.js";
import { FilesTab } from "../files/FilesTab.js";
import { FRESH } from "../pageState.js";
import { exportRows } from "../rows/exportRows.js";
import type { RunSource } from "../source.js";
import { VerbsProvider, useVerbSet } from "../verbs.js";

(globalThis as { IS_REACT_ACT_ENVIRONMENT?: boolean }).IS_REACT_ACT_ENVIRONMENT = true;

let host: HTMLElement;
let root: Root;
let asked: { name: string; signal: AbortSignal | undefined; answer: (content: Blob) => void; fail: (error: Error) => void }[];
const clicked = vi.spyOn(HTMLAnchorElement.prototype, "click").mockImplementation(() => undefined);
const source = {
  api: { shared: new SharedRuns() },
  artifacts: async () => [{ name: "out/a.csv", task: "t", bytes: 3, sha256: null }],
  artifact: (name: string, signal?: AbortSignal) =>
    new Promise<Blob>((answer, fail) => asked.push({ name, signal, answer, fail }))
} as unknown as RunSource;
const page = {
  run: aRun("r1"),
  source,
  state: FRESH,
  patch: () => undefined,
  trans: nullTranslator.load("po_jupyter")
} as unknown as Page;

function Drawn({ files }: { files: boolean }): JSX.Element {
  const verbs = useVerbSet(page);
  return (
    <PageProvider value={page}>
      <VerbsProvider value={verbs}>
        {files && <FilesTab />}
        {verbs.problem?.message}
      </VerbsProvider>
    </PageProvider>
  );
}

beforeEach(() => {
  asked = [];
  clicked.mockClear();
  URL.createObjectURL = () => "blob:x";
  URL.revokeObjectURL = () => undefined;
  host = document.body.appendChild(document.createElement("div"));
  root = createRoot(host);
});
afterEach(() => {
  act(() => root.unmount());
  host.remove();
});

const settle = (): Promise<void> => act(() => new Promise<void>(done => setTimeout(done, 5)));
const draw = async (files: boolean): Promise<void> => {
  act(() => root.render(<Drawn files={files} />));
  await settle();
};
const button = (): HTMLElement => [...host.querySelectorAll<HTMLElement>("button")].find(each => each.textContent === "Download")!;
const isBusy = (): boolean => button().getAttribute("aria-disabled") === "true";

describe("a file that is downloaded", () => {
  it("is fetched once, and its button is busy meanwhile, also after a look at another tab", async () => {
    await draw(true);
    act(() => button().click());
    act(() => button().click());
    expect(asked.map(({ name }) => name)).toEqual(["out/a.csv"]);
    expect(isBusy()).toBe(true);
    await draw(false);
    await draw(true);
    expect(isBusy()).toBe(true);
    asked[0]!.answer(new Blob(["x"]));
    await settle();
    expect(isBusy()).toBe(false);
    expect(clicked).toHaveBeenCalledTimes(1);
  });

  it("is given up with the page, and nothing is saved later", async () => {
    await draw(true);
    act(() => button().click());
    act(() => root.render(null));
    expect(asked[0]!.signal?.aborted).toBe(true);
    asked[0]!.answer(new Blob(["x"]));
    await settle();
    expect(clicked).not.toHaveBeenCalled();
  });

  it("says why it is not there", async () => {
    await draw(true);
    act(() => button().click());
    asked[0]!.fail(new Error("it was removed"));
    await settle();
    expect(host.textContent).toContain(explain(new Error("it was removed")).message);
    expect(isBusy()).toBe(false);
  });
});

describe("rows that are saved as CSV", () => {
  it("are asked for no more when the page is closed", async () => {
    const ended = new AbortController();
    const starts: number[] = [];
    const rows = async (_: unknown, start: number): Promise<unknown> => {
      starts.push(start);
      ended.abort();
      return { rows: [{ index: start, output: "x" }], next: start < 3 ? start + 1 : null };
    };
    const query = { task: "t", state: "", variant: "", q: "", sort: "index", desc: false } as const;
    const saved = exportRows({ rows } as unknown as RunSource, query, () => undefined, ended.signal);
    await expect(saved).rejects.toThrow();
    expect(starts).toEqual([0]);
  });
});
