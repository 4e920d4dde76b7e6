import * as React from "react";

/** A text that grows at its end and is cut at its beginning: what a person has selected in it stays selected. */
export function GrowingText({ text }: { text: string }): JSX.Element {
  const place = React.useRef<HTMLSpanElement>(null);
  React.useLayoutEffect(() => {
    const span = place.current!;
    if (span.firstChild instanceof Text) {
      patch(span.firstChild, text);
    } else {
      span.append(text);
    }
  }, [text]);
  return <span ref={place} />;
}

const PROBE = 40;

/** Change a text by what differs. To set it anew would take the selection out of it. */
export function patch(node: Text, text: string): void {
  const before = node.data;
  const gone = text.startsWith(before) ? 0 : before.indexOf(text.slice(0, PROBE));
  const kept = gone < 0 ? "" : before.slice(gone);
  if (!kept || !text.startsWith(kept)) {
    node.data = text;
    return;
  }
  if (gone) {
    node.deleteData(0, gone);
  }
  if (text.length > kept.length) {
    node.appendData(text.slice(kept.length));
  }
}
