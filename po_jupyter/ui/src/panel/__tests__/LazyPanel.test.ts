// @vitest-environment jsdom
import { nullTranslator } from "@jupyterlab/translation";
import { Widget } from "@lumino/widgets";
import { expect, it, vi } from "vitest";
import { LazyPanel } from "../LazyPanel.js";

it("a panel that could not be loaded says so, and is loaded when it is tried again", async () => {
  const complaint = vi.spyOn(console, "error").mockReturnValue(undefined);
  const load = vi.fn(async () => new Widget()).mockRejectedValueOnce(new Error("away"));
  const panel = new LazyPanel(load, nullTranslator.load("po_jupyter"));
  Widget.attach(panel, document.body);
  await vi.waitFor(() => expect(panel.node.querySelector("[role=alert]")).not.toBeNull());
  panel.node.querySelector("button")!.click();
  await vi.waitFor(() => expect(load).toHaveBeenCalledTimes(2));
  await vi.waitFor(() => expect(panel.widgets).toHaveLength(1));
  expect(panel.node.querySelector("[role=alert]")).toBeNull();
  panel.dispose();
  complaint.mockRestore();
});
