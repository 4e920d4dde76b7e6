// @vitest-environment jsdom
import * as React from "react";
import { act } from "react";
import { createRoot } from "react-dom/client";
import { expect, it, vi } from "vitest";
import { Button } from "../Button.js";

(globalThis as { IS_REACT_ACT_ENVIRONMENT?: boolean }).IS_REACT_ACT_ENVIRONMENT = true;

it("does nothing while its request is under way, and is no disabled element, which would lose the focus", () => {
  const host = document.body.appendChild(document.createElement("div"));
  const root = createRoot(host);
  const onClick = vi.fn();
  act(() => root.render(<Button label="Cancel" disabled onClick={onClick} />));
  const button = host.querySelector("button")!;
  button.focus();
  act(() => button.click());
  expect(onClick).not.toHaveBeenCalled();
  expect([button.disabled, button.getAttribute("aria-disabled")]).toEqual([false, "true"]);
  expect(document.activeElement).toBe(button);
  act(() => root.render(<Button label="Cancel" onClick={onClick} />));
  act(() => button.click());
  expect(onClick).toHaveBeenCalledTimes(1);
  act(() => root.unmount());
});
