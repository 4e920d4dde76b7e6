import * as React from "react";

/** What stands where there is nothing yet: what this place is for, and how something gets here. */
export function EmptyState({ children }: { children: React.ReactNode }): JSX.Element {
  return <div className="po-Nothing">{children}</div>;
}
