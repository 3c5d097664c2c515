// A table whose columns sort it.

import { useSignal } from "@preact/signals";
import type { ComponentChildren } from "preact";

export interface Column<R> {
  name: string;
  /** What a row is sorted by; a column without it does not sort. */
  by?: (row: R) => string | number | null | undefined;
  cell: (row: R) => ComponentChildren;
  isNumber?: boolean;
}

interface Props<R> {
  caption: string;
  columns: Column<R>[];
  rows: R[];
  id: (row: R) => string;
  /** The column that sorts at first, and whether from the largest down. */
  first?: { column: number; down: boolean };
}

export function Table<R>({ caption, columns, rows, id, first = { column: 0, down: false } }: Props<R>) {
  const sort = useSignal(first);
  const { column, down } = sort.value;
  const by = columns[column]?.by;
  const sorted = by ? [...rows].sort((a, b) => compare(by(a), by(b)) * (down ? -1 : 1)) : rows;
  return (
    <div class="scroll" tabIndex={0} role="region" aria-label={caption}>
      <table>
        <caption class="unseen">{caption}</caption>
        <thead>
          <tr>
            {columns.map((each, index) => (
              <th
                key={each.name}
                scope="col"
                class={each.isNumber ? "number" : ""}
                aria-sort={each.by ? (index !== column ? "none" : down ? "descending" : "ascending") : undefined}
              >
                {each.by ? (
                  <button type="button" onClick={() => (sort.value = { column: index, down: index === column ? !down : !!each.isNumber })}>
                    {each.name}
                    <span aria-hidden="true">{index === column ? (down ? " ↓" : " ↑") : ""}</span>
                  </button>
                ) : (
                  each.name
                )}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {sorted.map((row) => (
            <tr key={id(row)}>
              {columns.map((each, index) =>
                index ? (
                  <td key={each.name} class={each.isNumber ? "number" : ""}>
                    {each.cell(row)}
                  </td>
                ) : (
                  <th key={each.name} scope="row">
                    {each.cell(row)}
                  </th>
                ),
              )}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function compare(a: string | number | null | undefined, b: string | number | null | undefined): number {
  if (typeof a === "number" && typeof b === "number") return a - b;
  return String(a ?? "").localeCompare(String(b ?? ""), "en", { numeric: true });
}
