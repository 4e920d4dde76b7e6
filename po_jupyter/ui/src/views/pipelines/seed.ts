/** The seed of a run that is started by hand: what the pipeline asks for, and what a person or a file gives. */

import Papa from "papaparse";

export interface SeedField {
  name: string;
  /** A map goes over it: it is a list. */
  isList: boolean;
}

/** The fields of the seed that a definition's templates name, in their order. */
export function seedFields(definition: unknown): SeedField[] {
  const text = JSON.stringify(definition) ?? "";
  const lists = new Set(matches(JSON.stringify(valuesOf(definition, "for_each")), /\bseed\.([A-Za-z_]\w*)/g));
  return [...new Set(matches(text, /\bseed\.([A-Za-z_]\w*)/g))].map(name => ({ name, isList: lists.has(name) }));
}

function matches(text: string, pattern: RegExp): string[] {
  return [...text.matchAll(pattern)].map(match => match[1]!);
}

/** Every value that stands under `key`, at any depth. */
function valuesOf(value: unknown, key: string): unknown[] {
  if (value === null || typeof value !== "object") {
    return [];
  }
  return Object.entries(value).flatMap(([name, inner]) => (name === key ? [inner] : valuesOf(inner, key)));
}

/** What was typed into a field: JSON where it is some, else a text; undefined where nothing was typed. */
export function typedValue(text: string): unknown {
  if (!text.trim()) {
    return undefined;
  }
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** The names of all fields to be shown: those that the pipeline asks for, and what a file has beside them. */
export function shownFields(fields: readonly SeedField[], texts: Readonly<Record<string, string>>): SeedField[] {
  const asked = new Set(fields.map(field => field.name));
  const more = Object.keys(texts).filter(name => !asked.has(name));
  return [...fields, ...more.map(name => ({ name, isList: texts[name]!.trimStart().startsWith("[") }))];
}

/** The field that rows of a file or a notebook are for: the one that a map goes over, else the first. */
export function rowsField(fields: readonly SeedField[]): SeedField | undefined {
  return fields.find(field => field.isList) ?? fields[0];
}

/** The `data` of a seed from the texts of its fields. */
export function seedData(texts: Readonly<Record<string, string>>): Record<string, unknown> {
  const typed = Object.entries(texts).map(([name, text]) => [name, typedValue(text)] as const);
  return Object.fromEntries(typed.filter(([, value]) => value !== undefined));
}

/**
 * The texts of the fields that a file fills: a seed file or an object its fields, a list or a CSV file the list that
 * a map goes over. Throws an Error that says what is wrong with the file.
 */
export function fileTexts(fileName: string, content: string, fields: readonly SeedField[]): Record<string, string> {
  const value = /\.(csv|tsv)$/i.test(fileName) ? csvRows(fileName, content) : json(fileName, content);
  if (Array.isArray(value)) {
    const list = rowsField(fields);
    if (!list) {
      throw new Error(`${fileName} has rows, but this pipeline asks its seed for nothing.`);
    }
    return { [list.name]: shown(value) };
  }
  if (value === null || typeof value !== "object") {
    throw new Error(`${fileName} has ${JSON.stringify(value)?.slice(0, 40)}: a seed is an object or a list of rows.`);
  }
  const data = "data" in value && isRecord(value.data) ? value.data : value;
  return Object.fromEntries(Object.entries(data).map(([name, inner]) => [name, shown(inner)]));
}

function json(fileName: string, content: string): unknown {
  try {
    return JSON.parse(content);
  } catch (error) {
    throw new Error(`${fileName} is not JSON: ${(error as Error).message}`);
  }
}

function csvRows(fileName: string, content: string): unknown[] {
  const { data, errors } = Papa.parse<Record<string, string>>(content.replace(/^\uFEFF/, ""), {
    header: true,
    skipEmptyLines: "greedy"
  });
  // One column has no delimiter to find: that is no mistake.
  const wrong = errors.find(error => error.type !== "Delimiter");
  if (wrong) {
    throw new Error(`${fileName}: ${wrong.message} (near row ${wrong.row ?? 0})`);
  }
  return data;
}

/** A value as it stands in its field: a text as it is, unless it would be read as something else. */
function shown(value: unknown): string {
  return typeof value === "string" && typedValue(value) === value ? value : JSON.stringify(value);
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);
