import * as React from "react";

interface ButtonProps {
  label: string;
  /** What a screen reader says instead, when the label alone does not tell of what it is. */
  description?: string;
  title?: string;
  /** The word while its request is under way, else null. */
  doing?: string | null;
  /** Nothing happens on a click. The button keeps the focus that it has, which `disabled` of HTML would take from it. */
  disabled?: boolean;
  accent?: boolean;
  onClick: () => void;
}

export function Button({ label, description, title, doing, disabled, accent, onClick }: ButtonProps): JSX.Element {
  return (
    <button
      type="button"
      className={accent ? "po-Button po-is-accent" : "po-Button"}
      title={title}
      aria-label={description && `${doing ?? label} ${description}`}
      aria-disabled={disabled || undefined}
      onClick={() => !disabled && onClick()}
    >
      {doing ?? label}
    </button>
  );
}
