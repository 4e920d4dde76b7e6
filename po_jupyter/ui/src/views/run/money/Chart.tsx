/** A line of what was used over time, and the budget. Loaded when it is first shown: uPlot is a chunk of its own. */

import * as React from "react";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { tokens } from "../../../format/money.js";
import type { Series, Unit } from "./series.js";

interface ChartProps {
  series: Series;
  unit: Unit;
  label: string;
  limitLabel: string;
}

const HEIGHT = 220;

export default function Chart({ series, unit, label, limitLabel }: ChartProps): JSX.Element {
  const box = React.useRef<HTMLDivElement>(null);
  const plot = React.useRef<uPlot | null>(null);
  const theme = useTheme();
  const { limit } = series;
  React.useEffect(() => {
    const element = box.current!;
    plot.current = new uPlot(optionsOf(element, unit, limit, limitLabel), dataOf(series), element);
    const observer = new ResizeObserver(() => plot.current?.setSize({ width: element.clientWidth, height: HEIGHT }));
    observer.observe(element);
    return () => {
      observer.disconnect();
      plot.current?.destroy();
      plot.current = null;
    };
  }, [unit, limit, theme]);
  React.useEffect(() => plot.current?.setData(dataOf(series)), [series]);
  return <div ref={box} className="po-Chart" role="img" aria-label={label} />;
}

function dataOf({ times, used, limit }: Series): uPlot.AlignedData {
  return limit === null ? [times, used] : [times, used, times.map(() => limit)];
}

function optionsOf(element: HTMLElement, unit: Unit, limit: number | null, limitLabel: string): uPlot.Options {
  const style = getComputedStyle(element);
  const color = (name: string): string => style.getPropertyValue(name).trim();
  const text = color("--jp-ui-font-color2");
  const axis = { stroke: text, grid: { stroke: color("--jp-border-color3"), width: 1 }, ticks: { show: false } };
  return {
    width: element.clientWidth || 600,
    height: HEIGHT,
    legend: { show: false },
    cursor: { y: false },
    scales: { x: { time: true }, y: { range: (_, __, high) => [0, (high || 1) * 1.06] } },
    axes: [
      { ...axis, space: 90, values: (_, splits) => splits.map(at => timeLabel(at, (splits[1] ?? 0) - (splits[0] ?? 0))) },
      { ...axis, size: 72, values: (_, splits) => splits.map(at => amountLabel(at, unit, (splits[1] ?? 1) - (splits[0] ?? 0))) }
    ],
    series: [
      {},
      { stroke: color("--jp-brand-color1"), width: 2, fill: `color-mix(in srgb, ${color("--jp-brand-color1")} 12%, transparent)`, points: { show: false } },
      ...(limit === null ? [] : [{ label: limitLabel, stroke: color("--jp-warn-color1"), width: 1, dash: [6, 4], points: { show: false } }])
    ]
  };
}

/** All of an axis with as many digits as tell them apart. */
function timeLabel(at: number, step: number): string {
  const time = new Date(Math.round(at * 1000));
  const two = (value: number): string => String(value).padStart(2, "0");
  if (step >= 43_200) {
    return `${two(time.getMonth() + 1)}-${two(time.getDate())}`;
  }
  const minutes = `${two(time.getHours())}:${two(time.getMinutes())}`;
  if (step >= 60) {
    return minutes;
  }
  const seconds = `${minutes}:${two(time.getSeconds())}`;
  const digits = step < 1 ? Math.min(3, Math.ceil(-Math.log10(step) - 1e-9)) : 0;
  return digits ? `${seconds}.${String(time.getMilliseconds()).padStart(3, "0").slice(0, digits)}` : seconds;
}

/** As `timeLabel`. */
function amountLabel(at: number, unit: Unit, step: number): string {
  if (unit === "tokens") {
    return tokens(at);
  }
  return at ? `$${at.toFixed(Math.max(step < 1 ? 2 : 0, Math.ceil(-Math.log10(step) - 1e-9)))}` : "$0";
}

/** Another word whenever Lab's theme is another one: a canvas does not follow CSS by itself. */
function useTheme(): string {
  const read = (): string => document.body.dataset.jpThemeName ?? "";
  const [theme, setTheme] = React.useState(read);
  React.useEffect(() => {
    // The theme's variables arrive with its stylesheet, a moment after its name.
    const observer = new MutationObserver(() => setTimeout(() => setTheme(read()), 300));
    observer.observe(document.body, { attributes: true, attributeFilter: ["data-jp-theme-name"] });
    return () => observer.disconnect();
  }, []);
  return theme;
}
