import { LabIcon } from "@jupyterlab/ui-components";

/** A prompt's chevron, and the runs that follow from it. `jp-icon3` follows the theme. */
const svg = `<svg xmlns="http://www.w3.org/2000/svg" width="16" viewBox="0 0 24 24">
  <g class="jp-icon3" fill="#616161">
    <path d="M3.3 4.9 4.7 3.5 9.2 8 4.7 12.5 3.3 11.1 6.4 8z"/>
    <path d="M11 7h10v2H11z"/>
    <circle cx="5.2" cy="18" r="2.2"/>
    <path d="M7 17h3.4v2H7z"/>
    <circle cx="12" cy="18" r="2.2"/>
    <path d="M13.8 17h3.4v2h-3.4z"/>
    <path fill-rule="evenodd" d="M18.8 15.8a2.2 2.2 0 1 1 0 4.4 2.2 2.2 0 0 1 0-4.4zm0 1.4a.8.8 0 1 0 0 1.6.8.8 0 0 0 0-1.6z"/>
  </g>
</svg>`;

export const runsIcon = new LabIcon({ name: "po-jupyter:runs", svgstr: svg });
