/** The words of Lab's language, for components of any depth. */

import * as React from "react";
import { nullTranslator } from "@jupyterlab/translation";
import type { TranslationBundle } from "@jupyterlab/translation";
import { TRANSLATION_DOMAIN } from "../format/language.js";

export const Translation = React.createContext<TranslationBundle>(nullTranslator.load(TRANSLATION_DOMAIN));

/** `const trans = useTrans(); trans.__("Cancel")`. */
export function useTrans(): TranslationBundle {
  return React.useContext(Translation);
}
