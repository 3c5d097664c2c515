// The states of a machine and the ways between them, from the first state rightwards.

import { count } from "../format";

export interface Way {
  from: string;
  to: string;
  event?: string;
  /** How often it was taken as far as this page knows. */
  taken: number;
}

interface Props {
  machine: string;
  initial: string;
  /** The declared states; others appear when somebody is in them. */
  states: string[];
  ways: Way[];
  /** The state of every instance. */
  inside: string[];
}

const [WIDTH, HEIGHT, ACROSS, DOWN, EDGE] = [150, 46, 80, 26, 12];

interface Box {
  x: number;
  y: number;
}

export function Graph({ machine, initial, states, ways, inside }: Props) {
  const all = [...new Set([initial, ...states, ...ways.flatMap(({ from, to }) => [from, to]), ...inside])].filter(Boolean);
  const boxes = place(all, initial, ways);
  const number = (state: string) => inside.filter((each) => each === state).length;
  const right = Math.max(...[...boxes.values()].map(({ x }) => x)) + WIDTH + EDGE;
  const low = Math.max(...[...boxes.values()].map(({ y }) => y)) + HEIGHT + EDGE + 26;
  const says = `Machine ${machine}: ${all.map((state) => `${number(state)} in ${state}`).join(", ")}. ${ways.filter(({ taken }) => taken).map(({ from, to, taken }) => `${from} to ${to} was taken ${count(taken)} times`).join(", ") || "No transition was seen yet"}.`;
  return (
    <figure class="chart graph" tabIndex={0}>
      <svg viewBox={`0 0 ${right} ${low}`} width={right} height={low} role="img" aria-label={says}>
        <defs>
          <marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto-start-reverse">
            <path d="M0 0 8 4 0 8z" />
          </marker>
        </defs>
        {ways.map((way) => (
          <path key={`${way.from} ${way.to}`} class={way.taken ? "way taken" : "way"} d={line(boxes.get(way.from)!, boxes.get(way.to)!)} marker-end="url(#tip)">
            <title>
              {way.from} → {way.to}
              {way.event ? ` by ${way.event}` : ""}, taken {count(way.taken)} times
            </title>
          </path>
        ))}
        {all.map((state) => {
          const { x, y } = boxes.get(state)!;
          return (
            <g key={state} class={number(state) ? "box lit" : "box"} transform={`translate(${x} ${y})`}>
              <rect width={WIDTH} height={HEIGHT} rx="8" />
              <text x={WIDTH / 2} y="20">
                {state.length > 17 ? `${state.slice(0, 16)}…` : state}
              </text>
              <text x={WIDTH / 2} y="37" class="small">
                {number(state) ? `${count(number(state))} here` : "nobody"}
              </text>
            </g>
          );
        })}
      </svg>
      <figcaption class="unseen">{says}</figcaption>
    </figure>
  );
}

/** A column for each number of steps from the first state. */
function place(states: string[], initial: string, ways: Way[]): Map<string, Box> {
  const steps = new Map<string, number>([[initial || states[0]!, 0]]);
  for (const [state, step] of steps) {
    for (const { from, to } of ways) if (from === state && !steps.has(to)) steps.set(to, step + 1);
  }
  const last = Math.max(...steps.values());
  for (const state of states) if (!steps.has(state)) steps.set(state, last + 1);
  const filled = new Map<number, number>();
  return new Map(
    states.map((state) => {
      const column = steps.get(state)!;
      const row = filled.get(column) ?? 0;
      filled.set(column, row + 1);
      return [state, { x: EDGE + column * (WIDTH + ACROSS), y: EDGE + row * (HEIGHT + DOWN) }];
    }),
  );
}

/** Forwards from side to side; back, and within a column, in a bow below. */
function line(from: Box, to: Box): string {
  if (to.x > from.x) {
    const [x1, y1, x2, y2] = [from.x + WIDTH, from.y + HEIGHT / 2 - 5, to.x - 1, to.y + HEIGHT / 2 - 5];
    return `M${x1} ${y1}C${x1 + ACROSS / 2} ${y1} ${x2 - ACROSS / 2} ${y2} ${x2} ${y2}`;
  }
  if (to.x === from.x && to.y !== from.y) {
    const isDown = to.y > from.y;
    const [x, y1, y2] = [from.x + WIDTH / 2 + (isDown ? 14 : -14), isDown ? from.y + HEIGHT : from.y, isDown ? to.y - 1 : to.y + HEIGHT + 1];
    return `M${x} ${y1}L${x} ${y2}`;
  }
  const [x1, x2, y1, y2] = [from.x + WIDTH / 2 - 12, to.x + WIDTH / 2 + 12, from.y + HEIGHT, to.y + HEIGHT + 1];
  const bow = Math.max(y1, y2) + 24;
  return `M${x1} ${y1}C${x1} ${bow} ${x2} ${bow} ${x2} ${y2}`;
}
