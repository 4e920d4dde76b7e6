// @vitest-environment jsdom
import { afterEach, beforeEach, expect, it } from "vitest";
import { enter, keepFocus } from "../focus.js";

let root: HTMLElement;
let stop: () => void;

const settled = (): Promise<void> => new Promise(resolve => setTimeout(resolve, 0));
const at = (selector: string): HTMLElement => root.querySelector<HTMLElement>(selector)!;

beforeEach(() => {
  document.body.innerHTML = `<div id="root">
    <section id="head"><button id="verb">Retry</button></section>
    <ul id="running"><li><article data-run="a"><button class="po-Run-head">a</button></article></li></ul>
    <ul id="history"></ul>
  </div><button id="elsewhere"></button>`;
  root = document.getElementById("root")!;
  stop = keepFocus(root);
});
afterEach(() => stop());

it("goes to the part around a button that is gone", async () => {
  at("#verb").focus();
  at("#verb").remove();
  await settled();
  expect(document.activeElement).toBe(at("#head"));
});

it("follows a card into another list", async () => {
  at("[data-run=a] button").focus();
  at("#running li").remove();
  at("#history").innerHTML = `<li><article data-run="a"><button class="po-Run-head">a</button></article></li>`;
  await settled();
  expect(document.activeElement).toBe(at("#history button"));
});

it("is not taken back from where a person has gone", async () => {
  at("#verb").focus();
  document.getElementById("elsewhere")!.focus();
  at("#verb").remove();
  await settled();
  expect(document.activeElement!.id).toBe("elsewhere");
});

it("is not taken by a view that a person has left for nothing", async () => {
  at("#verb").focus();
  at("#verb").blur();
  await settled();
  at("#verb").remove();
  await settled();
  expect(document.activeElement).toBe(document.body);
});

it("enters at the tabs, also when they come later", async () => {
  enter(root);
  expect(document.activeElement).toBe(root);
  at("#head").innerHTML = `<button role="tab" aria-selected="true">Runs</button>`;
  await settled();
  expect(document.activeElement).toBe(at("[role=tab]"));
});
