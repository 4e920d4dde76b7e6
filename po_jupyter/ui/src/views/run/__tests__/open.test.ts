// @vitest-environment jsdom
import { WidgetTracker } from "@jupyterlab/apputils";
import { nullTranslator } from "@jupyterlab/translation";
import { beforeEach, describe, expect, it, vi } from "vitest";
import { aRun } from "../../../state/__tests__/samples.js";
import { openRunPage } from "../open.js";
import type { Lab } from "../open.js";
import type { RunPageWidget } from "../RunPageWidget.js";

// What is on the page is not drawn here.
vi.stubGlobal("requestIdleCallback", () => 0);

const WHOLE = "018f00000000aaaaaaaaaa";

let lab: Lab;
const get = vi.fn(async () => ({ run: aRun(WHOLE) }));
const shell = { add: vi.fn(), activateById: vi.fn() };

beforeEach(() => {
  vi.clearAllMocks();
  lab = {
    app: { shell, serviceManager: { contents: {}, serverSettings: {} }, commands: {} },
    live: { api: async () => ({ get }) },
    tracker: new WidgetTracker<RunPageWidget>({ namespace: "test" }),
    saved: null,
    trans: nullTranslator.load("po_jupyter")
  } as unknown as Lab;
});

describe("a run", () => {
  it("has one page, however fast it is opened twice", async () => {
    const [one, other] = await Promise.all([openRunPage(lab, { run: WHOLE }), openRunPage(lab, { run: WHOLE, tab: "rows" })]);
    expect(other).toBe(one);
    expect(shell.add).toHaveBeenCalledTimes(1);
    expect(get).not.toHaveBeenCalled();
    expect(await openRunPage(lab, { run: WHOLE })).toBe(one);
  });

  it("has one page, whether it is named by its id or by the end of it", async () => {
    const one = await openRunPage(lab, { run: "aaaa" });
    expect(one.run).toBe(WHOLE);
    expect(await openRunPage(lab, { run: WHOLE })).toBe(one);
    expect(await openRunPage(lab, { run: "aaaaaa" })).toBe(one);
    expect(shell.add).toHaveBeenCalledTimes(1);
  });

  it("has a page that says why when nobody knows it", async () => {
    get.mockRejectedValueOnce(new Error("no server"));
    expect((await openRunPage(lab, { run: "bbbb" })).run).toBe("bbbb");
  });

  it("can be opened again after its page could not be", async () => {
    shell.add.mockImplementationOnce(() => {
      throw new Error("no");
    });
    await expect(openRunPage(lab, { run: WHOLE })).rejects.toThrow("no");
    expect((await openRunPage(lab, { run: WHOLE })).run).toBe(WHOLE);
  });
});
