import * as React from "react";

/** Milliseconds after a change of the buttons in which a click was meant for what stood there before. */
const SETTLES = 500;

/** False for a moment after `value` changed: the second click of a double one must not hit what has come there. */
export function useSettled(value: string): boolean {
  const [settled, setSettled] = React.useState(value);
  React.useEffect(() => {
    if (settled !== value) {
      const timer = setTimeout(() => setSettled(value), SETTLES);
      return () => clearTimeout(timer);
    }
    return undefined;
  }, [value, settled]);
  return settled === value;
}
