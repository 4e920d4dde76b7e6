export const TEMPLATE: string;
export function catalogue(): string;
export function written(): string;
