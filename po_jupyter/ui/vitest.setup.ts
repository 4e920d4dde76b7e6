// What jsdom has not, and Lab's packages name when they are loaded.
if (typeof window !== "undefined") {
  globalThis.DragEvent ??= class DragEvent extends MouseEvent {} as typeof globalThis.DragEvent;
  window.matchMedia ??= query =>
    Object.assign(new EventTarget(), { matches: false, media: query }) as unknown as MediaQueryList;
}
