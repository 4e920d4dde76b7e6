/** Launcher, palette, status bar, notifications and menus. */

import type { JupyterFrontEndPlugin } from "@jupyterlab/application";

export const plugins: JupyterFrontEndPlugin<unknown>[] = [];
