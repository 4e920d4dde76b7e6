/** Which row of a table is open, also one that has not been loaded yet: it opens when it is here. */

import * as React from "react";

export interface Opened {
  /** The place of the row that is open, or will be; -1 is none. */
  place: number;
  openAt: (place: number) => void;
}

/**
 * `idAt` names the row at a place, undefined before it is loaded; `open` is the name of the one that is open, `show`
 * changes it. The keys End and Page Down come to places that are still to be loaded: what is open stays until then.
 */
export function useOpened<Id>(open: Id | null, idAt: (place: number) => Id | undefined, show: (id: Id | null) => void): Opened {
  const [place, setPlace] = React.useState(-1);
  const [awaited, setAwaited] = React.useState(-1);
  const loaded = awaited < 0 ? undefined : idAt(awaited);
  React.useEffect(() => {
    if (loaded !== undefined) {
      setAwaited(-1);
      show(loaded);
    }
  }, [loaded]);
  const openAt = (to: number): void => {
    const id = to < 0 ? undefined : idAt(to);
    setPlace(to);
    setAwaited(to >= 0 && id === undefined ? to : -1);
    if (to < 0 || id !== undefined) {
      show(id ?? null);
    }
  };
  const current = place >= 0 && open !== null && idAt(place) === open;
  return { place: awaited >= 0 ? awaited : current ? place : -1, openAt };
}
