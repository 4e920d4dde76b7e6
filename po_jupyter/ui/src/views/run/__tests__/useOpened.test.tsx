// @vitest-environment jsdom
import * as React from "react";
import { act } from "react";
import { createRoot } from "react-dom/client";
import { expect, it, vi } from "vitest";
import { useOpened } from "../rows/useOpened.js";
import type { Opened } from "../rows/useOpened.js";

(globalThis as { IS_REACT_ACT_ENVIRONMENT?: boolean }).IS_REACT_ACT_ENVIRONMENT = true;

it("keeps what is open until the row at the end of the list is here, and then opens that", () => {
  const loaded = new Map([[0, 100], [1, 101]]);
  const show = vi.fn();
  let opened: Opened = { place: -1, openAt: () => undefined };
  function Probe({ open }: { open: number | null }): null {
    opened = useOpened(open, place => loaded.get(place), show);
    return null;
  }
  const root = createRoot(document.body.appendChild(document.createElement("div")));
  act(() => root.render(<Probe open={null} />));
  act(() => opened.openAt(1));
  expect(show.mock.calls).toEqual([[101]]);
  act(() => root.render(<Probe open={101} />));
  expect(opened.place).toBe(1);
  act(() => opened.openAt(99));
  expect(show.mock.calls).toEqual([[101]]);
  expect(opened.place).toBe(99);
  loaded.set(99, 199);
  act(() => root.render(<Probe open={101} />));
  expect(show.mock.calls).toEqual([[101], [199]]);
  act(() => root.render(<Probe open={199} />));
  expect(opened.place).toBe(99);
  act(() => opened.openAt(-1));
  expect(show.mock.calls.at(-1)).toEqual([null]);
  act(() => root.unmount());
});
